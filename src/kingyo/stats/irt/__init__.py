"""Item response models: abilities of trials and difficulties of items, from a score matrix with gaps."""

from kingyo.stats.irt.rasch import Abilities, Responses, expected_means, fit, sigmoid

__all__ = ["Abilities", "Responses", "expected_means", "fit", "sigmoid"]

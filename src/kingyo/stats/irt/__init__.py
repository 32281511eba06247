"""Item response models: abilities of trials and difficulties of items, from a score matrix with gaps."""

from kingyo.stats.irt.rasch import Abilities, Estimate, Responses, estimates, fit, sigmoid

__all__ = ["Abilities", "Estimate", "Responses", "estimates", "fit", "sigmoid"]

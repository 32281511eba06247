"""Item responses: how able a model is, and how hard an item, from whatever was scored of both.

Numbers in, numbers out: a matrix of trials × items with gaps. It knows no strategy, no store and no model.
"""

from kingyo.irt.rasch import Abilities, Estimate, estimates, fit, sigmoid
from kingyo.irt.responses import Responses

__all__ = ["Abilities", "Estimate", "Responses", "estimates", "fit", "sigmoid"]

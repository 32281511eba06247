"""Merge methods, one file per family: pure functions on one tensor of each source.

``METHODS.get(name)`` finds one by name, in an installed plugin (entry points ``kingyo.methods``) or as
``path/to/file.py:Name``.
"""

from kingyo.methods.contract import (
    Guide,
    MergeMethod,
    MethodValues,
    Parameter,
    Reproduces,
    TensorContext,
    check_method,
    check_together,
    guide_of,
    hands_on,
    hides_nonfinite,
    reproduces,
    takes_base,
)
from kingyo.registry import Registry

METHODS: Registry[MergeMethod] = Registry("merge method", "kingyo.methods", "kingyo.methods", check_method)

__all__ = [
    "METHODS",
    "Guide",
    "MergeMethod",
    "MethodValues",
    "Parameter",
    "Reproduces",
    "TensorContext",
    "check_together",
    "guide_of",
    "hands_on",
    "hides_nonfinite",
    "reproduces",
    "takes_base",
]

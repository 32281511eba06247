"""Merge methods, one module per family: pure functions of one tensor of each source.

``METHODS.get(name)`` returns a built-in method, one of a plug-in (entry point group ``kingyo.methods``), or
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

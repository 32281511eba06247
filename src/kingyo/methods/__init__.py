"""Merge methods, one module per family: pure functions of one tensor of each source.

``METHODS.get(name)`` returns a built-in method, one of a plug-in (entry point group ``kingyo.methods``), or
``path/to/file.py:Name``.
"""

from kingyo.methods.contract import (
    DescribesMerge,
    Guide,
    MergeMethod,
    MergesTensors,
    MethodValues,
    Parameter,
    Reproduces,
    bytes_per_entry,
    check_method,
    check_together,
    describes,
    guide_of,
    hides_nonfinite,
    merge_tensor,
    reproduces,
    skips,
    takes_base,
)
from kingyo.methods.inputs import MergeInputs, TensorContext
from kingyo.registry import Registry

METHODS: Registry[MergeMethod] = Registry("merge method", "kingyo.methods", "kingyo.methods", check_method)

__all__ = [
    "METHODS",
    "DescribesMerge",
    "Guide",
    "MergeInputs",
    "MergeMethod",
    "MergesTensors",
    "MethodValues",
    "Parameter",
    "Reproduces",
    "TensorContext",
    "bytes_per_entry",
    "check_together",
    "describes",
    "guide_of",
    "hides_nonfinite",
    "merge_tensor",
    "reproduces",
    "skips",
    "takes_base",
]

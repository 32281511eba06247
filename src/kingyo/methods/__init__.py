"""Merge methods, one module per family: pure functions of one tensor of each source.

``METHODS.get(name)`` returns a built-in method, one of a plug-in (entry point group ``kingyo.methods``), or
``path/to/file.py:Name``.
"""

from kingyo.methods.contract import DescribesMerge as DescribesMerge
from kingyo.methods.contract import Guide as Guide
from kingyo.methods.contract import MergeMethod as MergeMethod
from kingyo.methods.contract import MergesTensors as MergesTensors
from kingyo.methods.contract import MethodValues as MethodValues
from kingyo.methods.contract import Parameter as Parameter
from kingyo.methods.contract import Reproduces as Reproduces
from kingyo.methods.contract import bytes_per_entry as bytes_per_entry
from kingyo.methods.contract import check_method
from kingyo.methods.contract import check_together as check_together
from kingyo.methods.contract import describes as describes
from kingyo.methods.contract import guide_of as guide_of
from kingyo.methods.contract import hides_nonfinite as hides_nonfinite
from kingyo.methods.contract import merge_tensor as merge_tensor
from kingyo.methods.contract import reproduces as reproduces
from kingyo.methods.contract import skips as skips
from kingyo.methods.contract import takes_base as takes_base
from kingyo.methods.inputs import MergeInputs as MergeInputs
from kingyo.methods.inputs import TensorContext as TensorContext
from kingyo.registry import Registry

METHODS: Registry[MergeMethod] = Registry("merge method", "kingyo.methods", "kingyo.methods", check_method)

"""Merge methods, one module per family: pure functions of one tensor of each source.

``METHODS.get(name)`` returns a built-in method, one of a plug-in (entry point group ``kingyo.methods``), or
``path/to/file.py:Name``.
"""

from kingyo.merging.methods.contract import DescribesMerge as DescribesMerge
from kingyo.merging.methods.contract import MergeMethod as MergeMethod
from kingyo.merging.methods.contract import MergesTensors as MergesTensors
from kingyo.merging.methods.contract import MethodDefaults as MethodDefaults
from kingyo.merging.methods.contract import MethodValues as MethodValues
from kingyo.merging.methods.contract import Parameter as Parameter
from kingyo.merging.methods.contract import Reproduces as Reproduces
from kingyo.merging.methods.contract import check_method
from kingyo.merging.methods.contract import check_together as check_together
from kingyo.merging.methods.contract import describes as describes
from kingyo.merging.methods.contract import hides_nonfinite as hides_nonfinite
from kingyo.merging.methods.contract import merge_tensor as merge_tensor
from kingyo.merging.methods.contract import reproduces as reproduces
from kingyo.merging.methods.contract import takes_base as takes_base
from kingyo.merging.methods.inputs import MergeInputs as MergeInputs
from kingyo.merging.methods.inputs import TensorContext as TensorContext
from kingyo.registry import Registry

METHODS: Registry[MergeMethod] = Registry(
    "merge method", "kingyo.merging.methods", "kingyo.methods", check_method
)

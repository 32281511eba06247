"""Read checkpoints lazily, check them, infer their layout from tensor names, and write them atomically."""

from kingyo.merging.checkpoints.checkpoint import Checkpoint as Checkpoint
from kingyo.merging.checkpoints.checkpoint import fingerprints_of as fingerprints_of
from kingyo.merging.checkpoints.checkpoint import is_as_stamped as is_as_stamped
from kingyo.merging.checkpoints.checkpoint import stamps_of as stamps_of
from kingyo.merging.checkpoints.compatibility import Fit as Fit
from kingyo.merging.checkpoints.compatibility import fit as fit
from kingyo.merging.checkpoints.config_comparison import check_passing as check_passing
from kingyo.merging.checkpoints.config_comparison import check_places as check_places
from kingyo.merging.checkpoints.configs import with_layers as with_layers
from kingyo.merging.checkpoints.header import TensorInfo as TensorInfo
from kingyo.merging.checkpoints.layout import Layout as Layout
from kingyo.merging.checkpoints.layout import select as select
from kingyo.merging.checkpoints.locate import open_checkpoint as open_checkpoint
from kingyo.merging.checkpoints.stacks import Stack as Stack
from kingyo.merging.checkpoints.writer import CheckpointWriter as CheckpointWriter

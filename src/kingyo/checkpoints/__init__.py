"""Read checkpoints lazily, check them, infer their layout from tensor names, and write them atomically."""

from kingyo.checkpoints.checkpoint import Checkpoint as Checkpoint
from kingyo.checkpoints.checkpoint import fingerprints_of as fingerprints_of
from kingyo.checkpoints.checkpoint import is_as_stamped as is_as_stamped
from kingyo.checkpoints.checkpoint import stamps_of as stamps_of
from kingyo.checkpoints.compatibility import Fit as Fit
from kingyo.checkpoints.compatibility import check_fit as check_fit
from kingyo.checkpoints.compatibility import fit as fit
from kingyo.checkpoints.config_comparison import check_passing as check_passing
from kingyo.checkpoints.config_comparison import check_places as check_places
from kingyo.checkpoints.configs import with_layers as with_layers
from kingyo.checkpoints.header import TensorInfo as TensorInfo
from kingyo.checkpoints.layout import Layout as Layout
from kingyo.checkpoints.layout import select as select
from kingyo.checkpoints.locate import open_checkpoint as open_checkpoint
from kingyo.checkpoints.stacks import Stack as Stack
from kingyo.checkpoints.writer import CheckpointWriter as CheckpointWriter

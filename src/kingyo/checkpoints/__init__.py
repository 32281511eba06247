"""Read checkpoints lazily, check them, infer their layout from tensor names, and write them atomically."""

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.compatibility import Fit, check_fit, fit
from kingyo.checkpoints.config_comparison import check_passing, check_places
from kingyo.checkpoints.configs import with_layers
from kingyo.checkpoints.fingerprint import (
    fingerprints_of,
    is_as_stamped,
    stamps_of,
)
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.layout import Layout, Stack, select
from kingyo.checkpoints.locate import open_checkpoint
from kingyo.checkpoints.writer import CheckpointWriter

__all__ = [
    "Checkpoint",
    "CheckpointWriter",
    "Fit",
    "Layout",
    "Stack",
    "TensorInfo",
    "check_fit",
    "check_passing",
    "check_places",
    "fingerprints_of",
    "fit",
    "is_as_stamped",
    "open_checkpoint",
    "select",
    "stamps_of",
    "with_layers",
]

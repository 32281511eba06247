"""Write a diffusion model as one file in the layout that the community shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.checkpoint import read_checkpoint
from kingyo.checkpoints.header import lay_out
from kingyo.errors import KingyoError
from kingyo.io.extras import library
from kingyo.kernels.raw_tensor import bytes_of

if TYPE_CHECKING:  # imports torch
    from kingyo.checkpoints.single_file_layout import FileTensor

_OTHERS = ("vae", "text_encoder", "text_encoder_2")
"""Folders of a pipeline of Stable Diffusion 1, 2 or XL that its single file holds besides the denoiser."""
_IN_ONE_FILE = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


def single_file_name(out: Path) -> str:
    return f"{out.resolve().name}.safetensors"


def check_single_file(denoiser: Checkpoint, around: Mapping[str, Path]) -> None:
    """Check that a model can be written as one file.

    Raises:
        KingyoError: it is not a denoiser whose original names diffusers knows, or diffusers is not installed.
    """
    _layout(denoiser, around)


def single_file_parts(denoiser: Checkpoint, around: Mapping[str, Path]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a single file: its header, then each tensor.

    Args:
        denoiser: the model as written.
        around: files of the pipeline around it, by their names; VAE and text encoders are read from there.
    """
    tensors = _layout(denoiser, around)
    total = sum(each.out.n_bytes for each in tensors)
    (shard,) = lay_out([each.out for each in tensors], max_shard_bytes=max(total, 1))
    yield shard.header
    for each in tensors:
        yield bytes_of(each.read().flatten()).data


def _layout(denoiser: Checkpoint, around: Mapping[str, Path]) -> list[FileTensor]:
    if "_class_name" not in denoiser.config:
        expected = "a denoiser of a diffusers pipeline"
        remedy = "Leave --single-file out."
        raise KingyoError("--single-file", expected, denoiser.reference, remedy)
    library("--single-file", "diffusers")
    from kingyo.checkpoints.single_file_layout import single_file

    is_known = denoiser.pipeline_index.get("_class_name") in _IN_ONE_FILE
    names = [name for name in _OTHERS if is_known and f"{name}/config.json" in around]
    others = {name: read_checkpoint(name, around[f"{name}/config.json"].parent) for name in names}
    return single_file(denoiser, others)

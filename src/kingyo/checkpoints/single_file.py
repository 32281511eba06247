"""Open the denoiser of a diffusion model in one file, with diffusers' names of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from kingyo.checkpoints.checkpoint import Checkpoint, refuse_quantised
from kingyo.checkpoints.folder_files import require_tensors
from kingyo.checkpoints.header import TensorInfo, read_header
from kingyo.checkpoints.mapped_tensors import file_stamps
from kingyo.checkpoints.pickled import read_pickle
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.io.pipeline_index import denoiser_of


@dataclass(frozen=True, kw_only=True)
class SingleFile(Checkpoint):
    """The denoiser in a single file.

    Attributes:
        file: the file.
        donor: the model in diffusers' layout that gives config and folder, and in a run VAE and text
            encoders; None if there is none. Without it, ``path`` is the file.
        stored: all tensors of the file, as it names them.
    """

    file: Path
    donor: Checkpoint | None = None
    stored: Mapping[str, TensorInfo] = field(default_factory=dict[str, TensorInfo], repr=False)

    @property
    def component(self) -> str:
        return denoiser_of(self.config)

    def with_donor(self, donor: Checkpoint) -> SingleFile:
        return replace(self, donor=donor, path=donor.path, config=donor.config, around=donor.around)

    @property
    def owner(self) -> Checkpoint:
        return self.donor or self

    @property
    def card_folder(self) -> Path:
        return self.file.parent

    @cached_property
    def pipeline(self) -> Path | None:
        return None if self.donor is None else self.donor.pipeline

    def deciding_files(self) -> dict[str, Path]:
        own = {self.file.name: self.file}
        return own if self.donor is None else own | {"config.json": self.donor.path / "config.json"}

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Write all tensors: the live model was loaded from the folder of another model."""
        with torch.no_grad():
            for name in self.tensors:
                weights[name].copy_(self.read(name))


def read_single_file(
    reference: str, file: Path, among: Iterable[Checkpoint] = (), *, allow_pickle: bool = False
) -> SingleFile:
    """Open the denoiser in a single file.

    Args:
        reference: the file, as written by the user.
        file: a ``.safetensors``, or a pickle.
        among: opened models; the first in diffusers' layout with the same tensors gives config and folder.
        allow_pickle: whether to read a pickle; see ``open_checkpoint``.

    Raises:
        KingyoError: the file is damaged, a pickle that is not allowed, or holds no denoiser.
    """
    seen = file_stamps([file])
    stored = require_tensors(_read(reference, file, allow_pickle=allow_pickle), file)
    refuse_quantised(reference, {}, stored)
    donors = [each.owner for each in among if "_class_name" in each.config and each.owner.path.is_dir()]
    donor = _with_names(donors, stored)
    config, tensors = (donor.config, stored) if donor is not None else _converted(reference, stored)
    donor = donor or _with_names(donors, tensors)
    model = SingleFile(
        reference=reference,
        path=file,
        file=file,
        config=config,
        tensors=tensors,
        stem="diffusion_pytorch_model",
        seen=seen,
        stored=stored,
    )
    return model if donor is None else model.with_donor(donor)


def _converted(
    reference: str, tensors: Mapping[str, TensorInfo]
) -> tuple[Mapping[str, object], dict[str, TensorInfo]]:
    from kingyo.checkpoints.conversion import read_denoiser  # imports diffusers, which is slow

    return read_denoiser(reference, tensors)


def _with_names(donors: Iterable[Checkpoint], tensors: Mapping[str, TensorInfo]) -> Checkpoint | None:
    return next((each for each in donors if each.tensors.keys() == tensors.keys()), None)


def _read(reference: str, file: Path, *, allow_pickle: bool) -> dict[str, TensorInfo]:
    if file.suffix == ".safetensors":
        return read_header(file)
    if allow_pickle:
        return read_pickle(file, within="state_dict")  # as Lightning writes it
    remedy = (
        "Name a .safetensors of the model, or pass --allow-pickle (run.yaml: `allow_pickle: true`), "
        "which runs no code."
    )
    raise KingyoError(reference, "weights in safetensors", f"a pickle ({file.name})", remedy)

"""A checkpoint on disk: what it holds is known at once, weights are mapped into memory when they are read.

It reads safetensors, and pickles of weights where the user allows it; it executes nothing that a checkpoint
brings along, and never writes to one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from kingyo.checkpoints.files import SEEING, SPEAKING, read_config, read_json, read_weights
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.layout import Layout
from kingyo.checkpoints.mapping import MappedFiles, map_bytes, map_tensor
from kingyo.checkpoints.quantised import refuse_quantised
from kingyo.checkpoints.reference import PIPELINE
from kingyo.checkpoints.stamps import FileStamp, file_stamps
from kingyo.checkpoints.tied import find_copies, stand_in
from kingyo.errors import KingyoError, suggest
from kingyo.kernels.raw import letter_of, raw_tensor
from kingyo.late import Tensor

if TYPE_CHECKING:
    from kingyo.checkpoints.adapter import Adapter

__all__ = ["Checkpoint", "read_checkpoint", "read_json"]

KEPT_BELOW = 1 << 20  # bytes; mapping a small tensor again costs more than keeping it


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What reading a tensor takes.

    Attributes:
        stored: tensors in files.
        others: tensors of other checkpoints, by their names in these.
    """

    stored: tuple[TensorInfo, ...] = ()
    others: tuple[tuple[Checkpoint, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint, or one whose tensors are computed from those of others as they are read.

    A subclass of the second kind defines ``read`` and ``needs``.

    Attributes:
        reference: what the user wrote to name it.
        path: its folder.
        config: its ``config.json``.
        tensors: what it holds, by name; a stored copy of tied weights is not counted.
        copies: stored copies of tied weights -> the tensor that they are copies of.
        stem: how the names of its files with weights begin: ``model``, or ``diffusion_pytorch_model``.
        seen: its files with weights as they were when it was opened.
        n_missing: bytes of its weights that are still on the Hub; they read as zeros.
        around: files of the pipeline that it is a component of, by their names in it, that belong to it: a
            live model is loaded with them.
        adapter: a LoRA that is merged into it as it is read.
        made_of: the checkpoints that it is computed from; none for one on disk.
        made_by: what tells it from all else that could be made of them.
        notes: what a user may want to know; none of it is an error.
    """

    has_same_bits: ClassVar[bool] = True
    """Whether ``read`` gives the same bits on every machine."""

    reference: str
    path: Path
    config: Mapping[str, object]
    tensors: Mapping[str, TensorInfo]
    copies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    stem: str = "model"
    seen: Mapping[Path, FileStamp] = field(default_factory=dict[Path, FileStamp], repr=False, compare=False)
    n_missing: int = 0
    around: Mapping[str, Path] = field(default_factory=dict[str, Path], repr=False)
    adapter: Adapter | None = field(default=None, repr=False)
    made_of: tuple[Checkpoint, ...] = field(default=(), repr=False)
    made_by: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
    _kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False, compare=False)

    @property
    def n_parameters(self) -> int:
        """How many numbers its tensors hold."""
        return sum(info.n_elements for info in self.tensors.values())

    @cached_property
    def pipeline(self) -> Path | None:
        """The folder of the pipeline of diffusers that it is a component of; None when it is of none.

        Of one on the Hub that folder holds the component, ``model_index.json`` and what else was asked for.
        """
        around = self.path.absolute().parent
        return around if (around / PIPELINE).is_file() else None

    @cached_property
    def pipeline_index(self) -> Mapping[str, object]:
        """The ``model_index.json`` of that pipeline; empty where there is none.

        Raises:
            KingyoError: it is broken.
        """
        return {} if self.pipeline is None else read_json(self.pipeline / PIPELINE, "the index of a pipeline")

    @cached_property
    def layout(self) -> Layout:
        """Where each tensor sits in the model."""
        return Layout(self.tensors, self.config)

    @cached_property
    def runs_code(self) -> bool:
        """Whether it brings Python code that transformers runs when told to trust it (``auto_map``)."""
        tokenizer = self.path / "tokenizer_config.json"
        told = read_json(tokenizer, "a tokenizer's config") if tokenizer.is_file() else {}
        return any("auto_map" in level for level in (told, *_levels(self.config)))

    def home(self, name: str) -> str | None:
        """The tensor that holds the weights of a name: its own, or the one that it is tied to.

        The head of a tied model is its embedding, whether the file holds a copy of it or not.

        Returns:
            The name of one of ``tensors``; None when it has no such weights.
        """
        if name in self.tensors:
            return name
        return self.copies.get(name) or stand_in(self, name)

    def needs(self, name: str) -> Needs:
        """Return what ``read`` takes, for one of ``tensors`` or a tensor that is tied to one."""
        return Needs(stored=(self.tensors[self.home(name) or name],))

    def on_disk(self) -> tuple[Checkpoint | Adapter, ...]:
        """Return what of it lies on disk, beside what ``made_of`` has there."""
        return () if self.made_of else (self,)

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Write into a live model, which was loaded from ``path``, what it has otherwise, in place.

        Args:
            weights: of the live model, by the names of ``tensors``.
        """

    def stored_tensors(self) -> tuple[TensorInfo, ...]:
        """The tensors in its files; of a computed checkpoint, those in the files of its parts."""
        return tuple(self.tensors.values())

    def deciding_files(self) -> dict[str, Path]:
        """The files that decide what it says (weights, config, tokenizer, adapter), by their names in it.

        Those of the pipeline around it (``around``) begin with ``../``.
        """
        beside = (file for pattern in ("config.json", *SPEAKING, *SEEING) for file in self.path.glob(pattern))
        files = self.files.union(file for file in beside if file.is_file())
        around = {f"../{name}": file for name, file in self.around.items()}
        return around | {str(file.relative_to(self.path)): file for file in files}

    @cached_property
    def files(self) -> frozenset[Path]:
        """The files that hold its weights."""
        return frozenset(info.file for info in self.tensors.values())

    def read(self, name: str) -> Tensor:
        """Return a tensor as stored; a large one is mapped from its file. It is shared: never write to it.

        Raises:
            KingyoError: it has no such tensor, and none that is tied to it.
        """
        return self._read(name, map_tensor)

    def read_raw(self, name: str) -> Tensor:
        """``read``, for who only hands a tensor on to compiled passes: without torch where that can be.

        Returns:
            A ``RawTensor``; what ``read`` returns of a dtype that compiled passes do not know, or where
            reading is more than to map a file.

        Raises:
            KingyoError: see ``read``.
        """
        home = self.home(name)
        if self.made_of or home is None:
            return self.read(name)
        info = self.tensors[home]
        if letter_of(info.dtype) is None or not info.n_elements or info.start % info.element_size:
            return self.read(name)
        return raw_tensor(map_bytes(info), info.dtype, info.shape)

    def read_from(self, name: str, files: MappedFiles) -> Tensor:
        """The same, of files that stay mapped."""
        return self._read(name, files.tensor)

    def _read(self, name: str, map_large: Callable[[TensorInfo], Tensor]) -> Tensor:
        if name in self._kept:
            return self._kept[name]
        home = self.home(name)
        if home is None:
            remedy = suggest(name, self.tensors)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        if home != name:
            return self._read(home, map_large)
        info = self.tensors[name]
        if info.n_bytes >= KEPT_BELOW:
            return map_large(info)
        self._kept[name] = map_tensor(info).clone()  # a mapping would keep its file open
        return self._kept[name]


def _levels(config: Mapping[str, object]) -> list[Mapping[str, object]]:
    inner = [cast("Mapping[str, object]", value) for value in config.values() if isinstance(value, dict)]
    return [config, *inner]


def read_checkpoint(reference: str, path: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Open the checkpoint in a folder: check its config, its index and every header.

    Args:
        reference: what the user wrote to name it.
        path: the folder.
        allow_pickle: see ``open_checkpoint``.

    Raises:
        KingyoError: no weights, no config, files that contradict one another, or a quantised model.
    """
    config = read_config(reference, path)
    weights = (file for pattern in ("*.safetensors", "*.bin") for file in path.rglob(pattern))
    before = file_stamps(weights)  # what is replaced while it is read has changed since
    stem, tensors = read_weights(path, allow_pickle=allow_pickle)
    refuse_quantised(reference, config, tensors)
    files = {info.file for info in tensors.values()}
    seen = file_stamps(files) | {file: stamp for file, stamp in before.items() if file in files}
    whole = Checkpoint(reference=reference, path=path, config=config, tensors=tensors, stem=stem, seen=seen)
    copies = find_copies(whole)
    kept = {name: info for name, info in tensors.items() if name not in copies}
    return replace(whole, tensors=kept, copies=copies, _kept={}) if copies else whole

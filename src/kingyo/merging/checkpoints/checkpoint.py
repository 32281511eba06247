"""An opened checkpoint: headers are read at once, weights are mapped into memory on demand.

Fingerprints of its files notice changes. Nothing here runs code from a checkpoint or writes to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.io.yaml import read_json
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints.adapter import Adapter
from kingyo.merging.checkpoints.folder_files import SEEING, SPEAKING, read_config, read_weights
from kingyo.merging.checkpoints.header import (
    FileStamp,
    MappedFiles,
    TensorInfo,
    file_stamps,
    map_bytes,
    map_tensor,
)
from kingyo.merging.checkpoints.layout import ModelTensors, find_copies, tied_tensor
from kingyo.merging.kernels.raw_tensor import AnyTensor, RawTensor, letter_of

KEPT_BELOW = 1 << 20  # bytes; smaller tensors stay in memory, since mapping them again costs more
_QUANTISED = re.compile(
    r"\.(qweight|qzeros|g_idx|SCB|absmax|quant_map|nested_absmax|weight_format|weight_packed|weight_scale"
    r"|weight_scale_inv|weight_shape|scale_weight|scale_input)$|\.quant_state\.|^scaled_fp8$"
)


@dataclass(frozen=True, kw_only=True)
class TensorInputs:
    """The inputs of a tensor: tensors in files, and tensors of other checkpoints by name."""

    stored: tuple[TensorInfo, ...] = ()
    others: tuple[tuple[Checkpoint, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checkpoint(ModelTensors):
    """A checkpoint on disk, or a virtual one whose tensors are computed as they are read.

    A virtual checkpoint is a subclass that defines ``read`` and ``needs``.
    """

    path: Path
    # stored copies of tied weights -> the original tensor
    copies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    stem: str = "model"  # prefix of its weight files: ``model`` or ``diffusion_pytorch_model``
    seen: Mapping[Path, FileStamp] = field(default_factory=dict[Path, FileStamp], repr=False, compare=False)
    n_missing: int = 0  # bytes of its weights that are still on the Hub; they read as zeros
    # other files of its pipeline, by their names in it, that a live model is loaded with
    around: Mapping[str, Path] = field(default_factory=dict[str, Path], repr=False)
    adapter: Adapter | None = field(default=None, repr=False)
    # the checkpoints that it is computed from; empty on disk
    made_of: tuple[Checkpoint, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    _kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False, compare=False)

    @property
    def n_parameters(self) -> int:
        return sum(info.n_elements for info in self.tensors.values())

    @cached_property
    def pipeline(self) -> Path | None:
        """Folder of the diffusers pipeline that it is a component of, or None."""
        around = self.path.absolute().parent
        return around if (around / PIPELINE).is_file() else None

    @cached_property
    def pipeline_index(self) -> Mapping[str, object]:
        return {} if self.pipeline is None else read_json(self.pipeline / PIPELINE)

    @property
    def owner(self) -> Checkpoint:
        """The checkpoint whose folder ``path`` is; another one for a single file."""
        return self

    @property
    def card_folder(self) -> Path:
        return self.pipeline or self.path

    @cached_property
    def runs_code(self) -> bool:
        """Whether loading it runs its own Python code (``auto_map``, ``trust_remote_code``)."""
        file = self.path / "tokenizer_config.json"
        tokenizer = read_json(file) if file.is_file() else {}
        return any("auto_map" in level for level in (tokenizer, *_levels(self.config)))

    def home(self, name: str) -> str | None:
        """Return the tensor with the weights of a name: itself, or the one it is tied to (an embedding)."""
        if name in self.tensors:
            return name
        return self.copies.get(name) or tied_tensor(self, name)

    def needs(self, name: str) -> TensorInputs:
        """Return the inputs of ``read`` for one of ``tensors`` or a tensor that is tied to one."""
        return TensorInputs(stored=(self.tensors[self.home(name) or name],))

    def on_disk(self) -> tuple[Checkpoint | Adapter, ...]:
        """Return its own checkpoints and adapters on disk, without those of ``made_of``."""
        return () if self.made_of else (self,)

    def load_into(self, weights: Mapping[str, Tensor]) -> None:
        """Write the tensors that differ from ``path`` into a live model that was loaded from there."""

    def stored_tensors(self) -> tuple[TensorInfo, ...]:
        """Return the tensors in its files; for a virtual checkpoint, in the files of ``made_of``."""
        return tuple(self.tensors.values())

    def deciding_files(self) -> dict[str, Path]:
        """Return the files that its answers depend on, by name; files of its pipeline begin with ``../``."""
        others = (file for pattern in ("config.json", *SPEAKING, *SEEING) for file in self.path.glob(pattern))
        files = self.files.union(file for file in others if file.is_file())
        around = {f"../{name}": file for name, file in self.around.items()}
        return around | {str(file.relative_to(self.path)): file for file in files}

    @cached_property
    def files(self) -> frozenset[Path]:
        return frozenset(info.file for info in self.tensors.values())

    def read(self, name: str) -> Tensor:
        """Return a tensor as stored. It is shared: never write to it."""
        return self._read(name, map_tensor)

    def read_rows(self, name: str, start: int, end: int) -> Tensor:
        """Return some rows of a tensor; of a large stored one, only these are mapped."""
        home = self.home(name)
        info = None if home is None or self.made_of else self.tensors[home]
        if info is None or info.n_bytes < KEPT_BELOW or info.first_row:
            return self.read(name)[start:end]
        return map_tensor(info.rows(start, end))

    def forget(self) -> None:
        """Drop the small tensors that are kept in memory."""
        self._kept.clear()
        for each in self.made_of:
            each.forget()

    def read_raw(self, name: str) -> AnyTensor:
        """Return a tensor for compiled loops, without torch if they support its dtype; else ``read`` it."""
        home = self.home(name)
        if self.made_of or home is None:
            return self.read(name)
        info = self.tensors[home]
        if letter_of(info.dtype) is None or not info.n_elements or info.start % info.element_size:
            return self.read(name)
        return RawTensor(map_bytes(info), info.dtype, info.shape)

    def read_from(self, name: str, files: MappedFiles) -> Tensor:
        return self._read(name, files.tensor)

    def _read(self, name: str, map_large: Callable[[TensorInfo], Tensor]) -> Tensor:
        if name in self._kept:
            return self._kept[name]
        home = self.home(name)
        if home is None:
            raise KingyoError(self.reference, "one of its tensors", name, suggest(name, self.tensors))
        if home != name:
            return self._read(home, map_large)
        info = self.tensors[name]
        if info.n_bytes >= KEPT_BELOW:
            return map_large(info)
        self._kept[name] = map_tensor(info).clone()  # a map would keep the file open
        return self._kept[name]


def read_checkpoint(reference: str, path: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Open the checkpoint in a folder: check its config, its index and every header."""
    config = read_config(reference, path)
    weights = (file for pattern in ("*.safetensors", "*.bin") for file in path.rglob(pattern))
    before = file_stamps(weights)  # before reading, so that a file replaced meanwhile counts as changed
    stem, tensors = read_weights(path, allow_pickle=allow_pickle)
    refuse_quantised(reference, config, tensors)
    files = {info.file for info in tensors.values()}
    seen = file_stamps(files) | {file: stamp for file, stamp in before.items() if file in files}
    stored = Checkpoint(reference=reference, path=path, config=config, tensors=tensors, stem=stem, seen=seen)
    copies = find_copies(stored)
    originals = {name: info for name, info in tensors.items() if name not in copies}
    return replace(stored, tensors=originals, copies=copies, _kept={}) if copies else stored


def _levels(config: Mapping[str, object]) -> list[Mapping[str, object]]:
    inner = [cast("Mapping[str, object]", value) for value in config.values() if isinstance(value, dict)]
    return [config, *inner]


def refuse_quantised(reference: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]) -> None:
    """Refuse quantised checkpoints (bitsandbytes, GPTQ, AWQ, …): their numbers are codes."""
    is_stated = any(level.get("quantization_config") for level in _levels(config))
    where = "config.json" if is_stated else None
    for name, info in tensors.items():
        is_matrix = len(info.shape) > 1 and name.endswith(("weight", "_blocks", "_scales"))
        if _QUANTISED.search(name) or (is_matrix and not info.is_floating):
            where = where or name
    if where is not None:
        kind = tensors[where].dtype if where in tensors else "quantization_config"
        expected = "weights that can be merged"
        remedy = "Name the original model, or dequantise this one (transformers: dequantize())."
        raise KingyoError(f"{reference}: {where}", expected, f"a quantised model ({kind})", remedy)


_NUMBERS = 1 << 23  # checked at a time


def fingerprints_of(checkpoints: Iterable[Checkpoint], *, check_finite: bool = False) -> dict[str, str]:
    """Hash weights, config, tokenizer and adapter of checkpoints, by reference; no paths, cards or licences.

    A file that several checkpoints share is read once. With ``check_finite``, NaN and infinity are errors.
    """
    digests: dict[Path, str] = {}
    fingerprints: dict[str, str] = {}
    for checkpoint in checkpoints:
        files = checkpoint.deciding_files()
        total = hashlib.sha256()
        for name in sorted(files):
            place = files[name].resolve()
            if place not in digests:
                digests[place] = hash_file(checkpoint.reference, place)
                if check_finite:  # while the file is still in memory
                    stored = checkpoint.stored_tensors()
                    _check_finite(checkpoint.reference, [info for info in stored if info.file == files[name]])
            total.update(f"{name} {digests[place]}\n".encode())
        fingerprints[checkpoint.reference] = total.hexdigest()
    return fingerprints


def hash_file(reference: str, file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        remedy = "Make the file readable, or fetch the model again."
        raise KingyoError(reference, "readable files", str(error), remedy) from error


def _check_finite(reference: str, tensors: Iterable[TensorInfo]) -> None:
    for info in tensors:
        flat = map_tensor(info).flatten()
        for start in range(0, len(flat), _NUMBERS) if info.is_floating else ():
            part = flat[start : start + _NUMBERS]
            numbers = part.float() if info.element_size == 1 else part  # no isfinite for 8 bits
            if not bool(torch.isfinite(numbers).all()):
                remedy = "Remove this model, or fetch it again: it is broken."
                raise KingyoError(f"{reference}: {info.name}", "finite weights", "NaN or infinity", remedy)


def stamps_of(checkpoint: Checkpoint) -> dict[str, FileStamp]:
    """Return the stamps of the files that ``fingerprints_of`` hashes, by name."""
    files = checkpoint.deciding_files()
    stamps = file_stamps(files.values())
    return {name: stamps[file] for name, file in sorted(files.items()) if file in stamps}


def is_as_stamped(checkpoint: Checkpoint, stamps: object) -> bool:
    """Return whether the files still have the stamps from ``stamps_of``, directly or read from JSON."""
    if not isinstance(stamps, dict):
        return False
    before = cast("dict[str, Sequence[int]]", stamps)
    return {name: tuple(stamp) for name, stamp in before.items()} == stamps_of(checkpoint)


def deciding_files(checkpoint: Checkpoint) -> frozenset[tuple[str, Path]]:
    """Return names and resolved paths of the files that decide; two models with the same files are one."""
    return frozenset((name, file.resolve()) for name, file in checkpoint.deciding_files().items())

"""A checkpoint on disk: what it holds is known at once, weights are mapped into memory when they are read.

It reads safetensors only, executes nothing that a checkpoint brings along, and never writes to one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import cast

import torch
from torch import Tensor

from kingyo.checkpoints.header import TensorInfo, read_header
from kingyo.checkpoints.layout import Layout
from kingyo.checkpoints.mapping import map_tensor
from kingyo.errors import KingyoError, suggest

_CHECKED_AT_ONCE = 1 << 22
_KEPT_BELOW = 1 << 20  # bytes; mapping a small tensor again costs more than keeping it
_MEND_INDEX = "Fetch or save the model again: its index and its shards do not belong together."


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint.

    Attributes:
        reference: what the user wrote to name it.
        path: its folder.
        config: its ``config.json``.
        tensors: what it holds, by name; a stored copy of tied weights is not counted.
    """

    reference: str
    path: Path
    config: Mapping[str, object]
    tensors: Mapping[str, TensorInfo]
    _kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor], repr=False, compare=False)

    @property
    def n_parameters(self) -> int:
        """How many numbers its tensors hold."""
        return sum(info.n_elements for info in self.tensors.values())

    @cached_property
    def layout(self) -> Layout:
        """Where each tensor sits in the model."""
        return Layout(self.tensors)

    def read(self, name: str) -> Tensor:
        """Return a tensor as stored; a large one is mapped from its file. It is shared: never write to it.

        Raises:
            KingyoError: it has no such tensor.
        """
        if name in self._kept:
            return self._kept[name]
        info = self.tensors.get(name)
        if info is None:
            remedy = suggest(name, self.tensors)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        if info.n_bytes >= _KEPT_BELOW:
            return map_tensor(info)
        self._kept[name] = map_tensor(info).clone()  # a mapping would keep its file open
        return self._kept[name]


def check_finite(checkpoint: Checkpoint) -> None:
    """Read every weight once.

    Raises:
        KingyoError: one is NaN or infinite; its tensor is named.
    """
    for name, info in checkpoint.tensors.items():
        if info.is_floating:
            flat = checkpoint.read(name).flatten()
            for start in range(0, info.n_elements, _CHECKED_AT_ONCE):
                if not bool(torch.isfinite(flat[start : start + _CHECKED_AT_ONCE]).all()):
                    raise KingyoError(
                        f"{checkpoint.reference}: {name}",
                        expected="finite weights",
                        received="NaN or infinity",
                        remedy="This model is broken: leave it out, or fetch it again.",
                    )


def read_checkpoint(reference: str, path: Path) -> Checkpoint:
    """Open the checkpoint in a folder: check its config, its index and every header.

    Raises:
        KingyoError: no safetensors, no config, or files that contradict one another.
    """
    config = read_json(path / "config.json", "a model's config.json")
    index = path / "model.safetensors.index.json"
    single = path / "model.safetensors"
    if single.is_file():  # first, as in transformers, should both be there
        tensors = read_header(single)
    elif index.is_file():
        tensors = _read_shards(path, index)
    else:
        raise _no_weights(path)
    checkpoint = Checkpoint(reference=reference, path=path, config=config, tensors=tensors)
    return _hide_tied_head(checkpoint)


def read_json(file: Path, what: str) -> dict[str, object]:
    """Read a JSON file that holds a mapping.

    Raises:
        KingyoError: it is missing, not JSON, or not a mapping.
    """
    try:
        parsed: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise KingyoError(
            str(file),
            expected=what,
            received=error.strerror or str(error),
            remedy=f"Name a folder that holds {file.name}, and that you may read.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise KingyoError(
            str(file),
            expected=what,
            received=f"invalid JSON ({error})",
            remedy="Correct the file, or fetch the model again.",
        ) from error
    if not isinstance(parsed, dict):
        raise KingyoError(
            str(file),
            expected=what,
            received=type(parsed).__name__,
            remedy="Write it as one JSON object, or fetch the model again.",
        )
    return cast("dict[str, object]", parsed)


def _read_shards(path: Path, index: Path) -> dict[str, TensorInfo]:
    named = read_json(index, "an index of shards").get("weight_map")
    if not isinstance(named, dict) or not named:
        raise KingyoError(
            str(index), expected="a weight_map", received="none, or an empty one", remedy=_MEND_INDEX
        )
    weight_map = cast("dict[str, object]", named)
    files = {shard: _shard_file(path, index, shard) for shard in dict.fromkeys(weight_map.values())}
    headers = {shard: read_header(file) for shard, file in files.items()}
    found: dict[str, TensorInfo] = {}
    for shard, header in headers.items():
        for name, info in header.items():
            if weight_map.get(name) != shard:
                received = f"{name} in {shard}"
                raise KingyoError(
                    str(index), expected="every tensor of every shard", received=received, remedy=_MEND_INDEX
                )
            found[name] = info
    absent = [name for name in weight_map if name not in found]
    if absent:
        received = f"'{absent[0]}', which {weight_map[absent[0]]} does not hold"
        raise KingyoError(
            str(index), expected="tensors that the shards hold", received=received, remedy=_MEND_INDEX
        )
    return found


def _shard_file(path: Path, index: Path, shard: object) -> Path:
    """The file of a shard: a plain name below the folder, never a way out of it."""
    pure = PurePosixPath(shard) if isinstance(shard, str) else PurePosixPath("/")
    if pure.is_absolute() or ".." in pure.parts or "\\" in str(pure) or pure.suffix != ".safetensors":
        raise KingyoError(
            str(index),
            expected="shards inside the folder",
            received=repr(shard),
            remedy="Correct the index: it may name .safetensors files below its own folder only.",
        )
    file = path / pure
    if not file.is_file():
        raise KingyoError(
            str(index),
            expected=f"the shard {shard}",
            received="no such file",
            remedy="Put the shard into the folder, or fetch the model again.",
        )
    return file


def _no_weights(path: Path) -> KingyoError:
    pickles = [file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in path.glob(pattern)]
    if pickles:
        return KingyoError(
            str(path),
            expected="weights in safetensors",
            received=f"only pickles ({pickles[0]})",
            remedy="Pickles can run code: convert it with save_pretrained of a model you trust.",
        )
    return KingyoError(
        str(path),
        expected="model.safetensors or its index",
        received="neither",
        remedy="Name the folder of a whole model, as save_pretrained writes it.",
    )


def _hide_tied_head(checkpoint: Checkpoint) -> Checkpoint:
    """Leave out a stored copy of tied weights: the config says that it is the embedding."""
    if not _is_tied(checkpoint.config):
        return checkpoint
    tensors = dict(checkpoint.tensors)
    layout = checkpoint.layout
    embeddings = [name for name in tensors if layout.kind(name) == "embedding"]
    for head in [name for name in tensors if layout.kind(name) == "head" and name.endswith("weight")]:
        twins = [name for name in embeddings if tensors[name].shape == tensors[head].shape]
        if not twins:
            continue
        if not any(torch.equal(checkpoint.read(head), checkpoint.read(name)) for name in twins):
            raise KingyoError(
                f"{checkpoint.reference}: {head}",
                expected=f"the same weights as {twins[0]}, since the config ties them",
                received="other weights",
                remedy="Set tie_word_embeddings to false in config.json if they are not tied.",
            )
        del tensors[head]
    return Checkpoint(
        reference=checkpoint.reference, path=checkpoint.path, config=checkpoint.config, tensors=tensors
    )


def _is_tied(config: Mapping[str, object]) -> bool:
    inner = config.get("text_config")
    levels = [config, cast("Mapping[str, object]", inner)] if isinstance(inner, dict) else [config]
    stated = [level["tie_word_embeddings"] for level in levels if "tie_word_embeddings" in level]
    return bool(stated) and stated[0] is True

"""Image features of vision-language models, kept until the weights of the vision part change; their cost."""

import hashlib
import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from kingyo.errors import KingyoError
from kingyo.merging.kernels.statistics_cache import memory_size
from kingyo.models.image_prompts import Encoded, PromptProcessor, first_line
from kingyo.models.vision.cache import Cache

Features = Mapping[str, Any]
"""Fields of the output of an image encoder -> a tensor, or sequences of tensors."""


def kept_bytes() -> int:
    """Return how much of what is the same for all candidates a live model keeps in memory: a sixteenth."""
    return memory_size() // 16


def _join_images(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return [tensor for part in parts for tensor in part]


def _join_layers(parts: Sequence[Any]) -> Any:
    return [_join_images(layer) for layer in zip(*parts, strict=True)]


_STRIDE = 4099  # a prime, so that numbers that change places seldom stay in one sum
_FIELDS = {"pooler_output": _join_images, "deepstack_features": _join_layers}
"""Fields of the output of ``get_image_features`` that models read, and the functions that join prompts."""


@contextmanager
def parts_fit() -> Generator[None]:
    """Turn an error of a forward pass into one about the files of the model, which must fit together."""
    try:
        yield
    except KingyoError:
        raise
    except (ValueError, IndexError, TypeError) as error:
        expected = "a processor, a config.json and weights that fit together"
        received = f"{type(error).__name__}: {first_line(error)}"
        remedy = "Copy config.json and the processor's files of the original model."
        raise KingyoError("model", expected, received, remedy) from error


class ImageFeatures:
    """Computes the features of images once; those that fit nowhere, again each time."""

    def __init__(self, model: PreTrainedModel, processor: PromptProcessor, scratch: Path | None) -> None:
        self._encode = getattr(model, "get_image_features", None)
        if self._encode is None or "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
            expected = "a model that takes image features (mm_encoder_outputs) in its forward pass"
            remedy = "Use another architecture, or update transformers."
            raise KingyoError(type(model).__name__, expected, "another one", remedy)
        self._accepted = set(inspect.signature(self._encode).parameters)
        self._processor = processor
        self._device = model.device
        self._vision = _vision_weights(model)
        self._print: bytes | None = None
        self.kept: Cache[Features] = Cache(kept_bytes(), folder=scratch, device=model.device)
        self.n_encoded = 0
        """Number of prompts whose images were encoded."""

    def __call__(self, rows: Sequence[Encoded]) -> BaseModelOutputWithPooling:
        """Return the features of the images of prompts, in order, as ``get_image_features`` would.

        Call ``forget_if_changed`` first if weights may have changed since the last call.
        """
        is_learned = torch.is_grad_enabled() and any(each.requires_grad for each in self._vision)
        kept = {_key(row): None if is_learned else self.kept.get(_key(row)) for row in rows}
        for row in rows:
            if kept[_key(row)] is None:
                kept[_key(row)] = self._compute(row) if is_learned else self._keep(row)
        parts = [cast(Features, kept[_key(row)]) for row in rows]
        joined = BaseModelOutputWithPooling()
        for field, join in _FIELDS.items():
            if field in parts[0]:
                setattr(joined, field, join([part[field] for part in parts]))
        return joined

    @torch.no_grad()
    def _keep(self, row: Encoded) -> Features:
        with torch.inference_mode(mode=False):  # a loss that reads them can be differentiated
            features = self._compute(row)
        return self.kept.put(_key(row), features)

    def _compute(self, row: Encoded) -> Features:
        self.n_encoded += 1
        made = self._processor.pixels(row.prompt)
        inputs = {
            name: each.to(self._device) if isinstance(each, Tensor) else each
            for name, each in made.items()
            if name in self._accepted
        }
        with parts_fit():
            encoded = cast("Any", self._encode)(**inputs, return_dict=True)
        fields = {field: getattr(encoded, field, None) for field in _FIELDS}
        return {field: each for field, each in fields.items() if each is not None}

    def forget_if_changed(self) -> None:
        """Drop all features if the vision part has other weights than when they were computed."""
        digest = hashlib.sha256()
        for tensor in self._vision:
            digest.update(_sums(tensor))
        if digest.digest() != self._print:
            self.kept.clear()
            self._print = digest.digest()


def _vision_weights(model: PreTrainedModel) -> list[Tensor]:
    """Return the weights that image features depend on: all outside the language part and the head."""
    decoder, head = cast("Any", model).get_decoder(), cast("Any", model).get_output_embeddings()
    language = cast("list[torch.nn.Module]", [each for each in (decoder, head) if each is not None])
    inside = {id(each) for part in language for each in part.parameters()}
    return [each for each in (*model.parameters(), *model.buffers()) if id(each) not in inside]


def _sums(tensor: Tensor) -> bytes:
    """Return thousands of sums of a tensor's bits as integers, which other weights almost never all have.

    One sum would not do: it stays the same when numbers change places.
    """
    kind = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    flat = tensor.detach().contiguous().view(-1).view(kind)
    n_whole = flat.numel() // _STRIDE * _STRIDE
    sums = flat[:n_whole].view(-1, _STRIDE).sum(0, dtype=torch.int64)
    return b"".join(cast("Any", each.cpu().numpy()).tobytes() for each in (sums, flat[n_whole:]))


def _key(row: Encoded) -> tuple[str, ...]:
    return tuple(image.sha256 for image in row.prompt.images)

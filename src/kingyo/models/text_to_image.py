"""A live diffusion pipeline: built once from its folder; candidates overwrite its denoiser in place.

Every pipeline of diffusers that draws from a text and has a ``unet`` or a ``transformer`` works: the pipeline
itself encodes prompts, removes the noise and decodes the picture.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, cast

import torch
from torch import Tensor

from kingyo.core.io.extras import quiet
from kingyo.core.io.pipeline_index import DENOISERS
from kingyo.core.types import Drawing, DrawingPrompt, Media, Progress, ignore_progress
from kingyo.errors import KingyoError
from kingyo.models.decoding import AnswerCount
from kingyo.models.image_features import kept_bytes
from kingyo.models.kinds.kind import LoadOptions
from kingyo.models.loading import require_device
from kingyo.models.pipelines import (
    call_arguments,
    load_around,
    load_denoiser,
    named_parameters,
    scheduler_for,
)
from kingyo.models.vision.cache import Cache
from kingyo.models.vision.images import encode_png

BATCH_PIXELS = 4 << 20
"""Limit of the pixels in a batch: four pictures of 1024 x 1024."""


class LivePipeline:
    """A pipeline whose denoiser can be overwritten in place.

    Text embeddings do not depend on the denoiser: they are computed once per prompt and kept.
    """

    def __init__(self, pipeline: Any, weights: Mapping[str, Tensor], options: LoadOptions) -> None:
        self._pipeline = pipeline
        self._own_scheduler = pipeline.scheduler
        self._batch_size = options.batch_size
        kept = Cache[Any](kept_bytes(), folder=options.scratch, device=pipeline.device)
        self._prompts = CachedPrompts(pipeline.encode_prompt, kept)
        pipeline.encode_prompt = self._prompts
        self.weights: Mapping[str, Tensor] = MappingProxyType(dict(weights))
        self.progress: Progress = ignore_progress

    @classmethod
    def load(cls, path: Path, options: LoadOptions | None = None) -> Self:
        options = options or LoadOptions()
        denoiser = load_denoiser(path, options)
        pipeline = load_around(path, denoiser, options)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(require_device(options.device), silence_dtype_warnings=True)
        weights = {name: each.requires_grad_(False) for name, each in denoiser.state_dict().items()}
        return cls(pipeline, weights, options)

    @property
    def dtype(self) -> str:
        return str(next(iter(self.weights.values())).dtype).removeprefix("torch.")

    @property
    def n_encoded(self) -> int:
        return self._prompts.n_encoded

    @torch.inference_mode()
    def draw(self, prompts: Sequence[DrawingPrompt], drawing: Drawing) -> list[Media]:
        """Return a picture (PNG) of each prompt.

        Batches change the last bits of a computation, so the same prompts in the same batches give the same
        pixels.
        """
        arguments = call_arguments(type(self._pipeline), drawing)
        pictures: list[Media] = []
        size = self._pictures_per_batch(drawing)
        count = AnswerCount(len(prompts), self.progress)
        steps = self._counted_steps(count, drawing)
        for batch in count.batches([prompts[i : i + size] for i in range(0, len(prompts), size)]):
            pixels = self._pixels(batch, drawing, steps | arguments)
            for prompt, each in zip(batch, pixels, strict=True):
                _require_finite(each, prompt)
                pictures.append(_png(each))
        return pictures

    def _counted_steps(self, count: AnswerCount, drawing: Drawing) -> dict[str, object]:
        """Return an argument that counts pictures by their steps; decoding them is the last step."""

        def count_step(pipeline: Any, step: int, *_: object) -> dict[str, object]:
            count.reach(step + 1, getattr(pipeline, "num_timesteps", drawing.steps) + 1)
            return {}  # changes no tensor

        name = "callback_on_step_end"
        return {name: count_step} if name in named_parameters(type(self._pipeline).__call__) else {}

    def _pictures_per_batch(self, drawing: Drawing) -> int:
        models, scale = self._pipeline.components, getattr(self._pipeline, "vae_scale_factor", 8)
        denoiser = next(each for name in DENOISERS if (each := models.get(name)) is not None)
        side = getattr(denoiser.config, "sample_size", None)
        own = side * scale if isinstance(side, int) else 1024
        n_pixels = (drawing.height or own) * (drawing.width or own)
        return max(1, min(self._batch_size, BATCH_PIXELS // n_pixels))

    def _pixels(
        self, batch: Sequence[DrawingPrompt], drawing: Drawing, arguments: Mapping[str, object]
    ) -> Any:
        self._pipeline.scheduler = scheduler_for(self._own_scheduler, drawing.scheduler)
        prompts: dict[str, object] = {"prompt": [each.text for each in batch]}
        if drawing.negative_prompt:
            prompts["negative_prompt"] = [drawing.negative_prompt] * len(batch)
        generators = [torch.Generator().manual_seed(each.seed) for each in batch]
        try:
            with quiet("transformers"), quiet("diffusers"):  # both print what they cut of a prompt
                drawn = self._pipeline(**prompts, **arguments, generator=generators, output_type="np")
        except (KingyoError, torch.OutOfMemoryError):
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ImportError) as error:
            expected = "settings that the pipeline accepts"
            received = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
            remedy = "Correct steps, guidance_scale, height, width, scheduler or arguments of the task."
            raise KingyoError(type(self._pipeline).__name__, expected, received, remedy) from error
        return drawn.images


def _require_finite(pixels: Any, prompt: DrawingPrompt) -> None:
    if not bool(torch.isfinite(torch.as_tensor(pixels)).all()):
        expected = "pixels that are numbers"
        received = "NaN or infinity"
        remedy = "Remove this model, or draw in float32: its weights or outputs overflow."
        raise KingyoError(f"picture of {prompt.text[:80]!r} (seed {prompt.seed})", expected, received, remedy)


def _png(pixels: Any) -> Media:
    from PIL import Image

    levels = (pixels * 255).round().astype("uint8")
    return encode_png(Image.fromarray(levels), compress_level=1)


Output = Sequence[Any]
"""Tensors, some with a first dimension per item, and None."""
_PROMPTS = ("prompt", "negative_prompt")


class CachedPrompts:
    """``encode_prompt`` of a pipeline: encodes each prompt alone, keeps the result, and joins a batch's.

    Initial noise is not kept: it depends on almost all arguments of a pipeline, through its scheduler, and
    takes a millisecond.

    Attributes:
        n_encoded: number of prompts that went through the text encoders.
    """

    def __init__(self, encode: Callable[..., Any], kept: Cache[Any]) -> None:
        self._encode = encode
        self._signature = inspect.signature(encode)
        self._kept = kept
        self.n_encoded = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._signature.bind(*args, **kwargs).arguments
        lists = {name: each for name, each in arguments.items() if _is_prompts(name, each)}
        n = len(next(iter(lists.values()), ()))
        if not n or any(isinstance(each, Tensor) for each in arguments.values()):
            return self._compute(arguments, n)
        rest = {name: each for name, each in arguments.items() if name not in lists}
        rows = [{**rest, **{name: [each[i]] for name, each in lists.items()}} for i in range(n)]
        parts = [self._row(row) for row in rows]
        joined = _joined(parts)
        return self._compute(arguments, n) if joined is None else tuple(joined)

    def _row(self, arguments: Mapping[str, Any]) -> Output:
        key = ("prompt", repr(sorted(arguments.items())))
        features = self._kept.get(key)
        if features is None:
            output = self._compute(arguments, 1)
            values = cast(Output, output) if isinstance(output, tuple) else (output,)
            named = {str(place): each for place, each in enumerate(values) if each is not None}
            features = self._kept.put(key, {**named, "n": torch.tensor(len(values))})
        return tuple(features.get(str(place)) for place in range(int(features["n"])))

    def _compute(self, arguments: Mapping[str, Any], n: int) -> Any:
        self.n_encoded += n
        return self._encode(**arguments)


def _is_prompts(name: str, value: object) -> bool:
    return name.startswith(_PROMPTS) and isinstance(value, list)


def _joined(parts: Sequence[Output]) -> Output | None:
    """Join the outputs of single items to that of a batch; None if their shapes differ.

    A tensor without a first dimension per item, such as positions, is the same for all.
    """
    columns: list[Any] = []
    for column in zip(*parts, strict=True):
        first = column[0]
        if not isinstance(first, Tensor) or first.shape[:1] != (1,):
            columns.append(first)
        elif any(each.shape != first.shape for each in column):
            return None
        else:
            columns.append(torch.cat(column))
    return tuple(columns)

"""A live diffusion pipeline: built once from its folder; candidates overwrite its denoiser in place.

Every pipeline of diffusers that draws from a text and has a ``unet`` or a ``transformer`` works: the pipeline
itself encodes prompts, removes the noise and decodes the picture.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, cast

import torch
from torch import Tensor

from kingyo.errors import KingyoError, suggest
from kingyo.io.quiet import quiet
from kingyo.models.feature_store import FeatureStore
from kingyo.models.kinds.kind import LoadOptions
from kingyo.models.loading import loading, require_device
from kingyo.models.pipeline_index import DENOISERS, INDEX, components, pipeline_around, read_index
from kingyo.models.pipeline_memory import RememberedNoise, RememberedPrompts
from kingyo.types import Drawing, DrawingPrompt, Media

BATCH_PIXELS = 4 << 20
"""Limit of the pixels in a batch: four pictures of 1024 x 1024."""
_OWN_ARGUMENTS = (
    "prompt",
    "generator",
    "output_type",
    "latents",
    "return_dict",
    "num_images_per_prompt",
    "num_inference_steps",
    *(each.name for each in fields(Drawing)),
)
"""Arguments of a pipeline's call that kingyo gives itself, or that have keys of their own."""


class LivePipeline:
    """A pipeline whose denoiser can be overwritten in place.

    Text embeddings and initial noise do not depend on the denoiser: they are computed once per item and kept.
    """

    def __init__(self, pipeline: Any, weights: Mapping[str, Tensor], options: LoadOptions) -> None:
        self._pipeline = pipeline
        self._own_scheduler = pipeline.scheduler
        self._batch_size = options.batch_size
        kept = FeatureStore(options.scratch, pipeline.device)
        self._prompts = RememberedPrompts(pipeline.encode_prompt, kept)
        self._noise = RememberedNoise(pipeline.prepare_latents, kept)
        pipeline.encode_prompt, pipeline.prepare_latents = self._prompts, self._noise
        self.weights: Mapping[str, Tensor] = MappingProxyType(dict(weights))

    @classmethod
    def load(cls, path: Path, options: LoadOptions | None = None) -> Self:
        """Build a pipeline from the folder of its denoiser, whose parent holds the other components."""
        options = options or LoadOptions()
        denoiser = _load_denoiser(path, options)
        pipeline = _load_around(path, denoiser, options)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(require_device(options.device))
        weights = {name: each.requires_grad_(False) for name, each in denoiser.state_dict().items()}
        return cls(pipeline, weights, options)

    @property
    def dtype(self) -> str:
        """The dtype of the computation, such as ``float32``."""
        return str(next(iter(self.weights.values())).dtype).removeprefix("torch.")

    @property
    def n_encoded(self) -> int:
        """Number of prompts that went through the text encoders."""
        return self._prompts.n_encoded

    @property
    def n_noises(self) -> int:
        """Number of items whose initial noise was drawn."""
        return self._noise.n_drawn

    @torch.inference_mode()
    def draw(self, prompts: Sequence[DrawingPrompt], drawing: Drawing) -> list[Media]:
        """Return a picture (PNG) of each prompt.

        Batches change the last bits of a computation, so the same prompts in the same batches give the same
        pixels.

        Raises:
            KingyoError: the pipeline cannot draw like this, or pixels are NaN or infinite.
        """
        arguments = self._arguments(drawing)
        pictures: list[Media] = []
        size = self._pictures_per_batch(drawing)
        for start in range(0, len(prompts), size):
            batch = prompts[start : start + size]
            pixels = self._pixels(batch, drawing, arguments)
            for prompt, each in zip(batch, pixels, strict=True):
                _require_finite(each, prompt)
                pictures.append(_png(each))
        return pictures

    def _pictures_per_batch(self, drawing: Drawing) -> int:
        """Return the batch size, lowered for large pictures; see ``BATCH_PIXELS``."""
        config, scale = self._pipeline.components, getattr(self._pipeline, "vae_scale_factor", 8)
        denoiser = next(each for name in DENOISERS if (each := config.get(name)) is not None)
        side = getattr(denoiser.config, "sample_size", None)
        own = side * scale if isinstance(side, int) else 1024
        n_pixels = (drawing.height or own) * (drawing.width or own)
        return max(1, min(self._batch_size, BATCH_PIXELS // n_pixels))

    def _pixels(
        self, batch: Sequence[DrawingPrompt], drawing: Drawing, arguments: Mapping[str, object]
    ) -> Any:
        """Return the pixels of a batch as an array: [items, height, width, channels], from 0 to 1."""
        self._pipeline.scheduler = scheduler_for(self._own_scheduler, drawing.scheduler)
        self._noise.context = repr((drawing.steps, drawing.scheduler))
        prompts: dict[str, object] = {"prompt": [each.text for each in batch]}
        if drawing.negative_prompt:
            prompts["negative_prompt"] = [drawing.negative_prompt] * len(batch)
        generators = [torch.Generator().manual_seed(each.seed) for each in batch]
        try:
            drawn = self._pipeline(**prompts, **arguments, generator=generators, output_type="np")
        except KingyoError:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise KingyoError(
                type(self._pipeline).__name__,
                expected="settings that the pipeline accepts",
                received=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300],
                remedy="Correct steps, guidance_scale, height, width, scheduler or arguments of the task.",
            ) from error
        return drawn.images

    def _arguments(self, drawing: Drawing) -> dict[str, object]:
        """Return the arguments of the pipeline's call but for prompts and generators."""
        known = inspect.signature(type(self._pipeline).__call__).parameters
        given = {name: getattr(drawing, name) for name in ("guidance_scale", "height", "width")}
        given = {name: value for name, value in given.items() if value is not None}
        if drawing.negative_prompt:
            given["negative_prompt"] = drawing.negative_prompt
        for name in (*given, *drawing.arguments):
            if name not in known or name in {*_OWN_ARGUMENTS} - given.keys():
                raise KingyoError(
                    f"arguments: {name}",
                    expected=f"an argument of {type(self._pipeline).__name__}",
                    received=repr(drawing.arguments.get(name, given.get(name)))[:80],
                    remedy=suggest(name, known.keys() - {*_OWN_ARGUMENTS}),
                )
        given.pop("negative_prompt", None)
        return {**drawing.arguments, **given, "num_inference_steps": drawing.steps}


def scheduler_for(own: Any, changes: Mapping[str, object]) -> Any:
    """Return a scheduler with the config of a pipeline's own and changes; ``class`` names another class.

    Raises:
        KingyoError: diffusers has no such scheduler, or the scheduler has no such setting.
    """
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    name = str(changes.get("class", type(own).__name__))
    kind = cast(object, getattr(diffusers, name, None))
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        names = [each for each in dir(diffusers) if each.endswith("Scheduler")]
        raise KingyoError(
            "scheduler: class",
            expected="a scheduler of diffusers",
            received=f"'{name}'",
            remedy=suggest(name, names),
        )
    settings = {key: value for key, value in changes.items() if key != "class"}
    known = inspect.signature(kind.__init__).parameters
    for key, value in settings.items():
        if key not in known:
            raise KingyoError(
                f"scheduler: {key}",
                expected=f"a setting of {name}",
                received=repr(value)[:80],
                remedy=suggest(key, known.keys() - {"self", "kwargs"}),
            )
    with quiet("diffusers"):
        return cast("Any", kind).from_config(own.config, **settings)


def scheduler_files(root: Path, changes: Mapping[str, object]) -> dict[str, str]:
    """Return the scheduler's config and the index of a pipeline, after changes; see ``scheduler_for``."""
    import diffusers

    index = dict(read_index(root))
    with loading(root / "scheduler", "diffusers"):
        own = getattr(diffusers, index["scheduler"][1]).from_pretrained(root / "scheduler")
    scheduler = scheduler_for(own, changes)
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    return {
        INDEX: json.dumps(index, indent=2) + "\n",
        "scheduler/scheduler_config.json": scheduler.to_json_string(),
    }


def _load_denoiser(path: Path, options: LoadOptions) -> Any:
    import diffusers

    pipeline_around(path)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if kind is None:
        raise KingyoError(
            str(path),
            expected="a denoiser of diffusers",
            received=f"{config.get('_class_name')!r}, which diffusers {diffusers.__version__} does not have",
            remedy="Update diffusers, or name another model.",
        )
    with loading(path, "diffusers"):
        dtype = getattr(torch, options.dtype) if options.dtype else "auto"
        model, report = kind.from_pretrained(
            path,
            dtype=_saved_dtype(path) if dtype == "auto" else dtype,
            variant=_variant(path),
            local_files_only=True,
            use_safetensors=None if options.allow_pickle else True,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            raise KingyoError(
                f"{path}: {missing[0]}",
                expected="a tensor of the architecture",
                received=f"{len(missing)} missing",
                remedy="Download or save the model again, so that its weights fit its config.json.",
            )
    return model.eval()


def _variant(path: Path) -> str | None:
    """Return the variant of the weights in a folder, such as ``fp16``; None for plain weights."""
    names = sorted(each.name for each in path.glob(f"{_STEM}*.safetensors*"))
    found = [_VARIANT.match(name) for name in names]
    return None if not all(found) or not found or found[0] is None else found[0][1]


def _saved_dtype(path: Path) -> torch.dtype:
    """Return the dtype of the first floating-point tensor in a folder; float32 for pickles."""
    from safetensors import safe_open

    for file in sorted(path.glob("*.safetensors")):
        with cast("Any", safe_open(file, framework="pt")) as opened:
            for name in sorted(opened.keys()):
                kind = opened.get_slice(name).get_dtype()
                if kind in _DTYPES:
                    return _DTYPES[kind]
    return torch.float32


_STEM = "diffusion_pytorch_model"
_VARIANT = re.compile(rf"{_STEM}\.(?!safetensors)([A-Za-z0-9_]+)[.-]")
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def _load_around(path: Path, denoiser: Any, options: LoadOptions) -> Any:
    """Load a pipeline around its denoiser; optional components without a folder are left out."""
    import diffusers

    root = path.parent
    index = read_index(root)
    name = str(index.get("_class_name"))
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise KingyoError(
            str(root / INDEX),
            expected=f"a pipeline of diffusers {diffusers.__version__}",
            received=name[:80],
            remedy="Update diffusers, or name another model.",
        )
    absent = [each for each in components(index) if not (root / each).is_dir()]
    for each in absent:
        if each not in kind._optional_components:
            raise KingyoError(
                str(root),
                expected=f"the component {each}, which {name} needs",
                received="no such folder",
                remedy="Download or save the pipeline again.",
            )
    with loading(root, "diffusers"):
        return kind.from_pretrained(
            root,
            dtype=denoiser.dtype,
            variant=_variant(path),
            local_files_only=True,
            use_safetensors=None if options.allow_pickle else True,
            **{**dict.fromkeys(absent), path.name: denoiser},
        )


def _require_finite(pixels: Any, prompt: DrawingPrompt) -> None:
    if not bool(torch.isfinite(torch.as_tensor(pixels)).all()):
        raise KingyoError(
            f"picture of {prompt.text[:80]!r} (seed {prompt.seed})",
            expected="pixels that are numbers",
            received="NaN or infinity",
            remedy="Remove this model, or draw in float32: its weights or outputs overflow.",
        )


def _png(pixels: Any) -> Media:
    """Return pixels from 0 to 1 as a PNG, rounded as diffusers does."""
    from PIL import Image

    stream = BytesIO()
    levels = (pixels * 255).round().astype("uint8")
    Image.fromarray(levels).save(stream, "PNG", compress_level=1)
    content = stream.getvalue()
    return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)

"""Diffusion pipelines of diffusers: loaded from local folders, checked without weights, and drawing.

Every pipeline that draws from a text and has a ``unet`` or a ``transformer`` works: it encodes prompts, and
decodes the image itself. It is built once; candidates overwrite its denoiser.
"""

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, cast

import torch
from torch import Tensor

from kingyo.core.io.extras import library, quiet
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE, component_classes
from kingyo.core.types import Drawing, DrawingPrompt, Media, Progress, ignore_progress
from kingyo.errors import KingyoError, suggest
from kingyo.models.decoding import reported
from kingyo.models.image_features import kept_bytes
from kingyo.models.kinds import LoadOptions, Question, errors_of
from kingyo.models.loading import load_tokenizer, loading, require_device
from kingyo.models.vision.cache import Cache
from kingyo.models.vision.images import encode_png

BATCH_PIXELS = 4 << 20
"""Limit of the pixels in a batch: four images of 1024 x 1024."""


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
        """Return an image (PNG) of each prompt.

        Batches change the last bits of a computation, so the same prompts in the same batches give the same
        pixels.
        """
        arguments = call_arguments(type(self._pipeline), drawing)
        images: list[Media] = []
        size = self._images_per_batch(drawing)
        batches = [prompts[i : i + size] for i in range(0, len(prompts), size)]
        for batch in reported(batches, len(prompts), self.progress):
            pixels = self._pixels(batch, drawing, arguments)
            for prompt, each in zip(batch, pixels, strict=True):
                _require_finite(each, prompt)
                images.append(_png(each))
        return images

    def _images_per_batch(self, drawing: Drawing) -> int:
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
            raise refused(type(self._pipeline).__name__, error) from error
        return drawn.images


def _require_finite(pixels: Any, prompt: DrawingPrompt) -> None:
    if not bool(torch.isfinite(torch.as_tensor(pixels)).all()):
        argument = f"image of {prompt.text[:80]!r} (seed {prompt.seed})"
        remedy = "Remove this model, or draw in float32: its weights or outputs overflow."
        raise KingyoError(argument, "pixels that are numbers", "NaN or infinity", remedy)


def _png(pixels: Any) -> Media:
    from PIL import Image

    levels = (pixels * 255).round().astype("uint8")
    return encode_png(Image.fromarray(levels), compress_level=1)


Output = Sequence[Any]
"""Tensors, some with a first dimension per item, and None."""
_PROMPTS = ("prompt", "negative_prompt")


class CachedPrompts:
    """``encode_prompt`` of a pipeline: encodes each prompt alone, keeps the result, and joins a batch's."""

    def __init__(self, encode: Callable[..., Any], kept: Cache[Any]) -> None:
        self._encode = encode
        self._signature = inspect.signature(encode)
        self._kept = kept
        self.n_encoded = 0
        """Number of prompts that went through the text encoders."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._signature.bind(*args, **kwargs).arguments
        lists: dict[str, list[Any]] = {
            name: each
            for name, each in arguments.items()
            if name.startswith(_PROMPTS) and isinstance(each, list)
        }
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


def _joined(parts: Sequence[Output]) -> Output | None:
    """Join the outputs of single items to that of a batch; None if their shapes differ."""
    columns: list[Any] = []
    for column in zip(*parts, strict=True):
        first = column[0]
        if not isinstance(first, Tensor) or first.shape[:1] != (1,):  # such as positions: the same for all
            columns.append(first)
        elif any(each.shape != first.shape for each in column):
            return None
        else:
            columns.append(torch.cat(column))
    return tuple(columns)


_STEM = "diffusion_pytorch_model"
_VARIANT = re.compile(rf"{_STEM}\.(?!safetensors)([A-Za-z0-9_]+)[.-]")
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def pipeline_around(path: Path) -> Path:
    if (path.parent / PIPELINE).is_file():
        return path.parent
    expected = f"a component of a pipeline, with {PIPELINE} in the folder above"
    remedy = "Name a complete pipeline, in a run as the base or, without a base, as the first source."
    raise KingyoError(str(path), expected, "a model on its own", remedy)


def read_index(root: Path) -> Mapping[str, Any]:
    return json.loads((root / PIPELINE).read_text(encoding="utf-8"))


def load_denoiser(path: Path, options: LoadOptions) -> Any:
    """Load the denoiser of a pipeline, by default in the dtype of its file."""
    pipeline_around(path)
    diffusers = library(str(path), "diffusers")
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if kind is None:
        received = f"{config.get('_class_name')!r}, which diffusers {diffusers.__version__} does not have"
        remedy = "Update diffusers, or name another model."
        raise KingyoError(str(path), "a denoiser of diffusers", received, remedy)
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
            expected = "a tensor of the architecture"
            remedy = "Download or save the model again, so that its weights fit its config.json."
            raise KingyoError(f"{path}: {missing[0]}", expected, f"{len(missing)} missing", remedy)
    return model.eval()


def _variant(path: Path) -> str | None:
    names = sorted(each.name for each in path.glob(f"{_STEM}*.safetensors*"))
    found = [_VARIANT.match(name) for name in names]
    return None if not all(found) or not found or found[0] is None else found[0][1]


def _saved_dtype(path: Path) -> torch.dtype:
    from safetensors import safe_open

    for file in sorted(path.glob("*.safetensors")):
        with cast("Any", safe_open(file, framework="pt")) as opened:
            for name in sorted(opened.keys()):
                kind = opened.get_slice(name).get_dtype()
                if kind in _DTYPES:
                    return _DTYPES[kind]
    return torch.float32


def load_around(path: Path, denoiser: Any, options: LoadOptions) -> Any:
    """Load the pipeline around a loaded denoiser; optional components without a folder are left out."""
    root = path.parent
    kind, absent = pipeline_class(root), absent_components(root)
    with loading(root, "diffusers"):
        return kind.from_pretrained(
            root,
            dtype=denoiser.dtype,
            variant=_variant(path),
            local_files_only=True,
            use_safetensors=None if options.allow_pickle else True,
            **{**dict.fromkeys(absent), path.name: denoiser},
        )


def pipeline_class(root: Path) -> Any:
    diffusers = library(str(root), "diffusers")
    name = str(read_index(root).get("_class_name"))
    kind = cast(object, getattr(diffusers, name, None))
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        expected = f"a pipeline of diffusers {diffusers.__version__}"
        remedy = "Update diffusers, or name another model."
        raise KingyoError(str(root / PIPELINE), expected, name[:80], remedy)
    return kind


def absent_components(root: Path) -> list[str]:
    """Return the optional components in the index of a pipeline that have no folder."""
    kind = pipeline_class(root)
    absent = [each for each in component_classes(read_index(root)) if not (root / each).is_dir()]
    for each in absent:
        if each not in kind._optional_components:
            expected = f"the component {each}, which {kind.__name__} needs"
            raise KingyoError(str(root), expected, "no such folder", "Download or save the pipeline again.")
    return absent


_OWN_ARGUMENTS = {
    *("prompt", "generator", "output_type", "latents", "return_dict", "num_images_per_prompt"),
    *("num_inference_steps", *(each.name for each in fields(Drawing))),
}
"""Arguments of a pipeline's call that kingyo sets, or that have keys of their own in the task."""
_LENGTH = "max_sequence_length"
"""Argument with the limit of text encoders other than CLIP."""


def call_arguments(kind: Any, drawing: Drawing) -> dict[str, object]:
    """Return the arguments of the call of a class of pipelines, without prompts and generators."""
    keys = {name: getattr(drawing, name) for name in ("guidance_scale", "height", "width")}
    keys = {name: value for name, value in keys.items() if value is not None}
    negative = {"negative_prompt": drawing.negative_prompt} if drawing.negative_prompt else {}
    known = named_parameters(kind.__call__)
    what = f"an argument of {kind.__name__}"
    _require_parameters(keys | negative, known, what)
    _require_parameters(drawing.arguments, known - _OWN_ARGUMENTS, f"{what} without a key", "arguments: ")
    return {**drawing.arguments, **keys, "num_inference_steps": drawing.steps}


def named_parameters(call: Any) -> set[str]:
    """Return the names of a method's parameters except ``self``, ``*args`` and ``**kwargs``."""
    parameters = list(inspect.signature(call).parameters.values())[1:]
    return {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def _require_parameters(
    given: Mapping[str, object], known: Collection[str], what: str, where: str = ""
) -> None:
    for name, value in given.items():
        if name not in known:
            raise KingyoError(f"{where}{name}", what, repr(value)[:80], suggest(name, known))


def load_scheduler(root: Path) -> Any:
    diffusers = library(str(root), "diffusers")
    with loading(root / "scheduler", "diffusers"):
        return getattr(diffusers, read_index(root)["scheduler"][1]).from_pretrained(root / "scheduler")


def scheduler_for(own: Any, changes: Mapping[str, object]) -> Any:
    """Return a scheduler with the config of a pipeline's own and changes; ``class`` names another class."""
    name = str(changes.get("class", type(own).__name__))
    kind = _scheduler_class(name)
    settings = {key: value for key, value in changes.items() if key != "class"}
    known = named_parameters(kind.__init__)
    _require_parameters(settings, known, f"a setting of {kind.__name__}", "scheduler: ")
    try:
        with quiet("diffusers"):
            return kind.from_config(own.config, **settings)
    except Exception as error:  # schedulers compute with settings that they do not check
        raise refused("scheduler", error) from error


def refused(argument: str, error: Exception) -> KingyoError:
    received = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    remedy = "Correct steps, guidance_scale, height, width, scheduler or arguments of the task."
    return KingyoError(argument, "settings that diffusers accepts", received, remedy)


def _scheduler_class(name: str) -> Any:
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    kind = cast(object, getattr(diffusers, name, None))
    if isinstance(kind, type) and issubclass(kind, SchedulerMixin) and hasattr(kind, "from_config"):
        return kind
    remedy = suggest(name, [each for each in dir(diffusers) if each.endswith("Scheduler")])
    raise KingyoError("scheduler: class", "a scheduler of diffusers", f"'{name}'", remedy)


def scheduler_files(root: Path, changes: Mapping[str, object]) -> dict[str, str]:
    """Return the scheduler's config and the index of a pipeline, after changes; see ``scheduler_for``."""
    index, scheduler = dict(read_index(root)), scheduler_for(load_scheduler(root), changes)
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    return {
        PIPELINE: json.dumps(index, indent=2) + "\n",
        "scheduler/scheduler_config.json": scheduler.to_json_string(),
    }


class DrawingCheck:
    """Checks settings and prompts by the classes, the scheduler and the tokenizers of a pipeline.

    What diffusers reads only while it draws is found with the first image.
    """

    def __init__(self, path: Path) -> None:
        root = pipeline_around(path)
        self._class = pipeline_class(root)
        absent_components(root)
        folders = sorted(each for each in root.glob("tokenizer*") if each.is_dir())
        self._tokenizers = [load_tokenizer(each, remote_code=False) for each in folders]
        self._scheduler = load_scheduler(root)
        length = inspect.signature(self._class.__call__).parameters.get(_LENGTH)
        self._longest = None if length is None else length.default

    def errors(self, questions: Iterable[Question]) -> Iterator[KingyoError]:
        for question in questions:
            drawing = cast(Drawing, question.options["drawing"])
            wrong = list(errors_of(self._require_accepted, [drawing]))
            yield from wrong
            if not wrong and not drawing.truncate:
                prompts = cast("Sequence[DrawingPrompt]", question.inputs)
                texts = dict.fromkeys([*(each.text for each in prompts), drawing.negative_prompt])
                limits = [self._limit(each, drawing) for each in self._tokenizers]
                yield from errors_of(lambda text, limits=limits: self._require_uncut(text, limits), texts)

    def _require_accepted(self, drawing: Drawing) -> None:
        call_arguments(self._class, drawing)
        scheduler_for(self._scheduler, drawing.scheduler)

    def _require_uncut(self, text: str, limits: Sequence[int]) -> None:
        lengths = [len(each(text, verbose=False)["input_ids"]) for each in self._tokenizers]
        if all(length > limit for length, limit in zip(lengths, limits, strict=True)) and lengths:
            expected = f"at most {max(limits)} tokens, which the text encoder reads"
            remedy = "Shorten the prompt, or set truncate: true, which cuts it."
            raise KingyoError(f"prompt {text[:80]!r}", expected, f"{min(lengths)} tokens", remedy)

    def _limit(self, tokenizer: Any, drawing: Drawing) -> int:
        own, given = int(tokenizer.model_max_length), drawing.arguments.get(_LENGTH, self._longest)
        is_clip = type(tokenizer).__name__.startswith("CLIP")
        return own if is_clip or not isinstance(given, int) else min(own, given)

"""Load pipelines of diffusers from local folders, and check settings and prompts without weights."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast
from warnings import catch_warnings

import torch

from kingyo.core.io.extras import library, quiet
from kingyo.core.io.pipeline_index import PIPELINE, component_classes
from kingyo.core.types import Drawing, DrawingPrompt
from kingyo.errors import KingyoError, suggest
from kingyo.models.kinds.kind import LoadOptions, Question, errors_of
from kingyo.models.loading import load_tokenizer, loading

_STEM = "diffusion_pytorch_model"
_VARIANT = re.compile(rf"{_STEM}\.(?!safetensors)([A-Za-z0-9_]+)[.-]")
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def pipeline_around(path: Path) -> Path:
    """Return the folder of the pipeline around a component."""
    if (path.parent / PIPELINE).is_file():
        return path.parent
    expected = f"a component of a pipeline, with {PIPELINE} in the folder above"
    remedy = "Name a complete pipeline, in a run as the base or, without a base, as the first source."
    raise KingyoError(str(path), expected, "a model on its own", remedy)


def read_index(root: Path) -> Mapping[str, Any]:
    """Return the content of a pipeline's index."""
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
    """Return the class of a pipeline."""
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


_KEYS = tuple(each.name for each in fields(Drawing))
_OWN_ARGUMENTS = (
    "prompt",
    "generator",
    "output_type",
    "latents",
    "return_dict",
    "num_images_per_prompt",
    "num_inference_steps",
    *_KEYS,
)
"""Arguments of a pipeline's call that kingyo sets, or that have keys of their own in the task."""
_LARGEST = 1_000_000
"""Limit of numbers, since schedulers allocate memory for each training step."""
_LENGTH = "max_sequence_length"
"""Argument with the limit of text encoders other than CLIP."""


def call_arguments(kind: Any, drawing: Drawing) -> dict[str, object]:
    """Return the arguments of a pipeline's call, without prompts and generators.

    Args:
        kind: class of the pipeline.
        drawing: settings of the task.
    """
    keys = {name: getattr(drawing, name) for name in ("guidance_scale", "height", "width")}
    keys = {name: value for name, value in keys.items() if value is not None}
    negative = {"negative_prompt": drawing.negative_prompt} if drawing.negative_prompt else {}
    known = named_parameters(kind.__call__)
    what = f"an argument of {kind.__name__}"
    require_parameters(keys | negative, known, what)
    for name, value in drawing.arguments.items():
        _require_no_key(name, value)
    require_parameters(drawing.arguments, known - {*_OWN_ARGUMENTS}, what, "arguments: ")
    return {**drawing.arguments, **keys, "num_inference_steps": drawing.steps}


def named_parameters(call: Any) -> set[str]:
    """Return the names of a method's parameters except ``self``, ``*args`` and ``**kwargs``."""
    parameters = list(inspect.signature(call).parameters.values())[1:]
    return {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def require_parameters(
    given: Mapping[str, object], known: Collection[str], what: str, where: str = ""
) -> None:
    """Check that all given names are known.

    Args:
        given: values by name.
        known: names of parameters.
        what: what the names stand for, for the error.
        where: what the error puts in front of a name.
    """
    for name, value in given.items():
        if name not in known:
            raise KingyoError(f"{where}{name}", what, repr(value)[:80], suggest(name, known))


def _require_no_key(name: str, value: object) -> None:
    if name in _KEYS:
        expected = "an argument that is no key of the task"
        remedy = f"Write `{name}` as a key of the task."
        raise KingyoError(f"arguments: {name}", expected, repr(value)[:80], remedy)


def load_scheduler(root: Path) -> Any:
    """Load the scheduler of a pipeline."""
    diffusers = library(str(root), "diffusers")
    with loading(root / "scheduler", "diffusers"):
        return getattr(diffusers, read_index(root)["scheduler"][1]).from_pretrained(root / "scheduler")


def scheduler_for(own: Any, changes: Mapping[str, object]) -> Any:
    """Return a scheduler with the config of a pipeline's own and changes; ``class`` names another class."""
    name = str(changes.get("class", type(own).__name__))
    kind = _scheduler_class(name)
    settings = {key: value for key, value in changes.items() if key != "class"}
    _require_settings(kind, settings)
    try:
        with quiet("diffusers"):
            return kind.from_config(own.config, **settings)
    except Exception as error:  # schedulers compute with settings that they do not check
        raise _refused(name, error) from error


def rehearse(own: Any, changes: Mapping[str, object], steps: int) -> None:
    """Build a scheduler as ``scheduler_for`` does, and take one step: some settings are read only there.

    A scheduler that cannot take this step without the settings either needs more of its pipeline, and passes.
    """
    scheduler = scheduler_for(own, changes)
    name = type(scheduler).__name__
    error = _failure(scheduler, steps)
    if error is not None and _failure(scheduler_for(own, {"class": name}), steps) is None:
        raise _refused(name, error) from error


def _failure(scheduler: Any, steps: int) -> Exception | None:
    import torch

    shift = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    nothing = torch.zeros(1, 4, 8, 8)
    try:
        with (
            quiet("diffusers"),
            catch_warnings(action="ignore"),
            torch.random.fork_rng(devices=[]),  # pyright: ignore[reportUnknownMemberType]
        ):
            scheduler.set_timesteps(steps, **shift)
            scheduler.step(nothing, scheduler.timesteps[0], nothing)
    except Exception as error:  # noqa: BLE001 (see scheduler_for)
        return error
    return None


def _refused(name: str, error: Exception) -> KingyoError:
    received = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    remedy = "Correct `scheduler` of the task."
    return KingyoError("scheduler", f"settings that {name} accepts", received, remedy)


def _scheduler_class(name: str) -> Any:
    """Return a scheduler's class; diffusers has placeholders for those whose library is missing."""
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    kind = cast(object, getattr(diffusers, name, None))
    if isinstance(kind, type) and issubclass(kind, SchedulerMixin) and hasattr(kind, "from_config"):
        return kind
    needed = cast("list[str]", getattr(cast(object, kind), "_backends", []))
    names = [each for each in dir(diffusers) if each.endswith("Scheduler")]
    received = f"'{name}'" + (f", which needs {' and '.join(needed)}" if needed else "")
    remedy = "Install what it needs, or name another scheduler." if needed else suggest(name, names)
    raise KingyoError("scheduler: class", "a scheduler of diffusers", received, remedy)


def _require_settings(kind: Any, settings: Mapping[str, object]) -> None:
    known = named_parameters(kind.__init__)
    require_parameters(settings, known, f"a setting of {kind.__name__}", "scheduler: ")
    for key, value in settings.items():
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise KingyoError(
                f"scheduler: {key}", f"a number up to {_LARGEST:,}", f"{value:,}", "Write a smaller number."
            )


def scheduler_files(root: Path, changes: Mapping[str, object]) -> dict[str, str]:
    """Return the scheduler's config and the index of a pipeline, after changes; see ``scheduler_for``."""
    index, scheduler = dict(read_index(root)), scheduler_for(load_scheduler(root), changes)
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    return {
        PIPELINE: json.dumps(index, indent=2) + "\n",
        "scheduler/scheduler_config.json": scheduler.to_json_string(),
    }


class DrawingCheck:
    """Checks settings and prompts by the classes, the scheduler and the tokenizers of a pipeline."""

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
        """Yield errors of settings that are not accepted, and of prompts that all text encoders would cut."""
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
        rehearse(self._scheduler, drawing.scheduler, drawing.steps)

    def _require_uncut(self, text: str, limits: Sequence[int]) -> None:
        tokens = [cast("list[int]", each(text, verbose=False)["input_ids"]) for each in self._tokenizers]
        over = [len(own) - limit for own, limit in zip(tokens, limits, strict=True)]
        if not over or min(over) <= 0:
            return
        place = over.index(min(over))
        ends = self._tokenizers[place]("")["input_ids"]  # start and end of every text
        last = len(tokens[place]) - len(ends[1:])
        cut = self._tokenizers[place].decode(tokens[place][last - over[place] : last])
        expected = f"at most {limits[place]} tokens, which the text encoder reads"
        received = f"{len(tokens[place])} tokens; {cut[:120]!r} would be cut"
        remedy = "Shorten the prompt, or set truncate: true."
        raise KingyoError(f"prompt {text[:80]!r}", expected, received, remedy)

    def _limit(self, tokenizer: Any, drawing: Drawing) -> int:
        own, given = int(tokenizer.model_max_length), drawing.arguments.get(_LENGTH, self._longest)
        is_clip = type(tokenizer).__name__.startswith("CLIP")
        return own if is_clip or not isinstance(given, int) else min(own, given)

"""Settings of drawing: check them and prompts without weights; build schedulers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast
from warnings import catch_warnings

from kingyo.core.io.extras import library, quiet
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.types import Drawing, DrawingPrompt
from kingyo.errors import KingyoError, suggest
from kingyo.models.kinds.kind import Question, errors_of
from kingyo.models.loading import load_tokenizer, loading
from kingyo.models.pipeline_loading import absent_components, pipeline_around, pipeline_class, read_index

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

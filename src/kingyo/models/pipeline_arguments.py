"""Arguments of a pipeline's call: check them without the pipeline's weights."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from kingyo.errors import KingyoError, suggest
from kingyo.types import Drawing

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


def call_arguments(kind: Any, drawing: Drawing) -> dict[str, object]:
    """Return the arguments of a pipeline's call, without prompts and generators.

    Args:
        kind: class of the pipeline.
        drawing: settings of the task.

    Raises:
        KingyoError: the call has no such argument.
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

    Raises:
        KingyoError: a name is unknown.
    """
    for name, value in given.items():
        if name not in known:
            raise KingyoError(
                f"{where}{name}", expected=what, received=repr(value)[:80], remedy=suggest(name, known)
            )


def _require_no_key(name: str, value: object) -> None:
    """Check that the task has no key of this name."""
    if name in _KEYS:
        raise KingyoError(
            f"arguments: {name}",
            expected="an argument that is no key of the task",
            received=repr(value)[:80],
            remedy=f"Write `{name}` as a key of the task.",
        )

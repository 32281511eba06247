"""The registry of kinds of models, and calls into kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import TypeVar, cast

from kingyo.errors import KingyoError, crash
from kingyo.models.kinds.abilities import members
from kingyo.models.kinds.kind import CardPart, Live, LoadOptions, ModelKind
from kingyo.registry import Registry

T = TypeVar("T")

DEFAULT = "causal-lm"
"""The kind of a model that no kind takes but that may be a language model; loading it reports any problem."""
_FIX = "Fix the kind; kingyo.testing.kinds has tests of the contract."


def _check(name: str, candidate: object) -> None:
    """Check that an object from a plug-in or a user's file is a kind of model."""
    if not isinstance(candidate, ModelKind) or isinstance(candidate, type):
        received = f"the class {candidate.__name__}" if isinstance(candidate, type) else repr(candidate)[:120]
        raise _broken(name, "an instance with the members of kingyo.models.kinds.ModelKind", received)
    provides: object = candidate.provides
    sound = {
        "name": isinstance(cast(object, candidate.name), str),
        "provides": isinstance(provides, tuple | list)
        and all(isinstance(each, type) for each in cast("list[object]", provides)),
        "card": isinstance(cast(object, candidate.card), CardPart),
    }
    for part in (part for part, is_sound in sound.items() if not is_sound):
        kinds = "a str as name, classes as provides, and a CardPart as card"
        raise _broken(name, kinds, f"{part} = {getattr(candidate, part)!r:.80}")


MODEL_KINDS: Registry[ModelKind] = Registry(
    "kind of model", "kingyo.models.kinds", "kingyo.model_kinds", _check
)
"""Kinds of models by name."""


def distribution_of(kind: ModelKind) -> str | None:
    """Return the installed distribution of a plug-in's kind; None for a built-in kind or one in a file."""
    if MODEL_KINDS.is_registered(kind.name):
        return None
    return MODEL_KINDS.distribution(kind)


def called(kind: ModelKind, name: str, call: Callable[[], T], returns: type | UnionType | None = None) -> T:
    """Call a method of a kind; turn a crash of a user's or plug-in's kind into KingyoError.

    Args:
        kind: the kind.
        name: the method's name.
        call: calls the method.
        returns: the type that it must return, such as ``str``; None allows any.

    Raises:
        KingyoError: the method raised, or returned another type.
    """
    try:
        value = call()
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        if MODEL_KINDS.is_registered(kind.name):
            raise
        raise _broken(kind.name, f"a call of {name} that succeeds", crash(error)) from error
    if returns is not None and not isinstance(value, returns):
        wanted = returns.__name__ if isinstance(returns, type) else str(returns)
        raise _broken(kind.name, f"{name} to return {wanted}", f"{value!r:.80}")
    return value


def load_live(kind: ModelKind, path: Path, options: LoadOptions) -> Live:
    """Load a live model and check that it has all members that its kind provides.

    Raises:
        KingyoError: see ``ModelKind.load``, or a member is missing.
    """
    live = called(kind, "load", lambda: kind.load(path, options))
    promised = {"dtype", "weights"}.union(*map(members, kind.provides))
    missing = sorted(name for name in promised if not hasattr(live, name))
    if missing:
        raise _broken(kind.name, f"a live model with {', '.join(missing)}", repr(live)[:120])
    return live


def _broken(name: str, expected: str, received: str) -> KingyoError:
    return KingyoError(f"kind of model {name}", expected=expected, received=received, remedy=_FIX)

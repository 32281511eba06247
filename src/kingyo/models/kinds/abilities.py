"""Check what live models of a kind, and the kind itself, can do."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, cast

from kingyo.errors import KingyoError
from kingyo.models.kinds.kind import ModelKind

T = TypeVar("T")


def require_needs(what: str, needs: type, kind: ModelKind) -> None:
    """Check that live models of a kind have all members that something needs.

    Args:
        what: what needs them, such as ``task digits``.
        needs: a protocol whose docstring begins with a noun phrase, such as "A model that writes text."
        kind: the kind of the models.

    Raises:
        KingyoError: a member is missing.
    """
    has = {name for each in kind.provides for name in members(each)}
    if not members(needs) <= has:
        raise _unable(what, needs, kind, "Use models of another kind, or another kind of task.")


def require_ability(what: str, ability: type[T], kind: ModelKind, remedy: str) -> T:
    """Return a kind of model after checking that it has an ability, such as ``PassesLayers``.

    Args:
        what: what needs the ability, such as ``space: dataflow``.
        ability: a protocol whose docstring begins with a noun phrase.
        kind: the kind of the models.
        remedy: the remedy of the error.

    Raises:
        KingyoError: the kind does not have the ability.
    """
    if not isinstance(kind, ability):
        raise _unable(what, ability, kind, remedy)
    return kind


def members(protocol: type) -> set[str]:
    """Return the names of a protocol's public methods and attributes."""
    own = [each for each in protocol.__mro__ if each not in (object, Protocol, cast(object, Generic))]
    names = (name for each in own for name in (*vars(each), *vars(each).get("__annotations__", ())))
    return {name for name in names if not name.startswith("_")}


def described(protocol: type) -> str:
    """Return a noun phrase for a protocol: the first line of its docstring, or else its members."""
    first = (protocol.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")
    return first[:1].lower() + first[1:] or f"a model with {', '.join(sorted(members(protocol)))}"


def _unable(what: str, wanted: type, kind: ModelKind, remedy: str) -> KingyoError:
    received = f"models of kind {kind.name}"
    return KingyoError(what, expected=described(wanted), received=received, remedy=remedy)

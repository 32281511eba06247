"""Under which names two models have the same tensors: a prefix more or less, a language model inside another.

It looks at names and parts; whether shapes fit is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.stacks import Stack
from kingyo.errors import KingyoError


def match_names(like: Checkpoint, other: Checkpoint, only: Collection[str] | None = None) -> dict[str, str]:
    """Find the names that another model has for a model's tensors.

    A language model matches the language part of a model that sees. Tied weights stand for what is not
    stored: the head of a tied model is its embedding. Tensors that one of them ties and the other keeps are
    among the names.

    Args:
        like: whose names are kept.
        other: the other model.
        only: the tensors that matter; all when None.

    Returns:
        A name in ``like`` -> the tensor of ``other`` that holds these weights.

    Raises:
        KingyoError: one of them has a tensor that the other lacks.
    """
    wanted = list(like.tensors if only is None else only)
    found = {name: name for name in wanted if name in other.tensors}
    if len(found) != len(wanted) or len(found) != len(other.tensors):
        taken = set(found)
        for name in wanted:
            yours = None if name in found else _counterpart(like, other, name, taken)
            if yours is not None:
                found[name] = yours
                taken.add(yours)
    for name in wanted:
        if name not in found:
            if (home := other.home(name)) is None:
                raise lacking(name, like, other, like)
            found[name] = home
    for name in sorted(_relevant(like, other, wanted) - set(found.values())):
        mine = _in_like(like, other, name)
        if like.home(mine) is None:
            raise lacking(name, other, like, like)
        found[mine] = name
    return found


def lacking(name: str, owner: Checkpoint, lacks: Checkpoint, like: Checkpoint) -> KingyoError:
    """The error for a tensor that one of two models has."""
    parts = like.layout.parts
    alone = f", or one of its parts ({', '.join(parts)}) alone: parts: {{language: merge}}"
    return KingyoError(
        f"{owner.reference} and {lacks.reference}",
        expected="models with the same tensors",
        received=f"'{name}' in {owner.reference} but not in {lacks.reference}",
        remedy=f"Merge models of one architecture{alone if len(parts) > 1 else ''}.",
    )


def _counterpart(like: Checkpoint, other: Checkpoint, name: str, taken: Collection[str]) -> str | None:
    stack = like.layout.stack(name)
    if stack is not None:
        partner = _partner(like, other, stack)
        yours = None if partner is None else f"{partner.prefix}{name[len(stack.prefix) :]}"
        return yours if yours in other.tensors else None
    part = like.layout.part(name)
    outer = (each for each in other.tensors if other.layout.stack(each) is None and each not in taken)
    if len(other.layout.parts) > 1 and len(like.layout.parts) > 1:
        outer = (each for each in outer if other.layout.part(each) == part)
    elif len(other.layout.parts) > 1:
        outer = (each for each in outer if other.layout.part(each) == _main_part(other))
    return _best(name, outer)


def _partner(like: Checkpoint, other: Checkpoint, stack: Stack) -> Stack | None:
    named = {each.name: each for each in other.layout.stacks}
    prefixes = {each.prefix: each for each in other.layout.stacks}
    if stack.prefix in prefixes:
        return prefixes[stack.prefix]
    is_main = stack is like.layout.main and (len(named) == 1 or len(like.layout.stacks) == 1)
    return other.layout.main if is_main else named.get(stack.name)


def _best(name: str, others: Iterable[str]) -> str | None:
    """The name with which it shares most last words: at least two, or all of one of them."""
    words = name.split(".")
    shared = {each: _n_shared(words, each.split(".")) for each in others}
    good = {each: n for each, n in shared.items() if n >= 2 or n == min(len(words), len(each.split(".")))}
    most = max(good.values(), default=0)
    best = [each for each, n in good.items() if n == most > 0]
    return best[0] if len(best) == 1 else None


def _n_shared(one: list[str], other: list[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((i for i, (mine, yours) in enumerate(pairs) if mine != yours), min(len(one), len(other)))


def _relevant(like: Checkpoint, other: Checkpoint, wanted: Iterable[str]) -> set[str]:
    """The tensors of the other model that must find a place: those of the parts that are wanted."""
    if len(other.layout.parts) == 1:
        return set(other.tensors)
    if len(like.layout.parts) == 1:
        return set(other.layout.parts[_main_part(other)])
    parts = {like.layout.part(name) for name in wanted}
    return {name for part in parts for name in other.layout.parts.get(part, ())}


def _main_part(model: Checkpoint) -> str:
    main = model.layout.main
    return main.part if main is not None else next(iter(model.layout.parts))


def _in_like(like: Checkpoint, other: Checkpoint, name: str) -> str:
    """The name that a tensor of the other model would have in ``like``, which does not store it."""
    mine, yours = like.layout.main, other.layout.main
    if mine is None or yours is None:
        return name
    if len(like.layout.parts) > 1 and mine.prefix.endswith(f".{yours.prefix}"):
        return mine.prefix.removesuffix(yours.prefix) + name
    if len(other.layout.parts) > 1 and yours.prefix.endswith(f".{mine.prefix}"):
        return name.removeprefix(yours.prefix.removesuffix(mine.prefix))
    return name

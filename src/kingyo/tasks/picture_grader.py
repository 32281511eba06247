"""Graders of pictures: their protocol, their registry, and several together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.io.model_names import HUB_NAME, absolute_name, is_local, local_path, split_revision
from kingyo.io.schema import parse_settings
from kingyo.registry import Registry
from kingyo.tasks.named_paths import move_own_paths, option_values
from kingyo.types import Item, Media


class PictureGrader(Protocol):
    """Scores pictures of items from 0 (wrong) to 1 (right).

    A grader is a frozen dataclass whose fields are its options. In the YAML ``{name: value}`` sets the first
    option and ``{name: {option: value}}`` any of them. Two class attributes are optional. ``paths`` names the
    options that are files or folders: they become absolute paths, or stay names on the Hub; a run stores
    hashes of these files, and an export copies them. ``known_names`` lists values of these options that are
    neither, such as the name of a built-in network.
    """

    def __call__(self, pictures: Sequence[Media], items: Sequence[Item], /) -> Sequence[float]:
        """Return the score of each picture, in order."""
        ...


@runtime_checkable
class ChecksItems(Protocol):
    """A grader that can reject items before any picture is drawn."""

    def check(self, items: Sequence[Item], /) -> None:
        """Raise KingyoError if the grader cannot grade pictures of these items."""
        ...


PICTURE_GRADERS: Registry[Callable[..., object]] = Registry(
    "grader of pictures", "kingyo.tasks", "kingyo.picture_graders"
)
"""Graders by name. Plug-ins use the entry point group ``kingyo.picture_graders``."""

G = TypeVar("G", bound=Callable[..., object])
BATCH = 64
"""Number of pictures that all graders score before the next ones are decoded."""
DIGITS = 6
"""Digits of a score. Later ones depend on the other pictures in a network's batch."""


def register_picture_grader(name: str) -> Callable[[G], G]:
    """Return a decorator that registers a built-in grader and keeps its type."""

    def put(grader: G) -> G:
        PICTURE_GRADERS.register(name)(grader)
        return grader

    return put


@dataclass(frozen=True, kw_only=True)
class GradersMix:
    """Several graders: the product of their scores, or a mean with weights.

    Attributes:
        graders: pairs of name and grader.
        weights: weights of the mean, one per grader; empty for the product.
    """

    graders: tuple[tuple[str, PictureGrader], ...]
    weights: tuple[float, ...] = ()

    def grade(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:
        """Return the score of each picture, from 0 to 1.

        All graders score a batch before the next one, so that each picture is decoded once; see
        ``decode_picture``.
        """
        batches = [slice(start, start + BATCH) for start in range(0, len(pictures), BATCH)]
        return [score for batch in batches for score in self._grade(pictures[batch], items[batch])]

    def _grade(self, pictures: Sequence[Media], items: Sequence[Item]) -> list[float]:
        columns = [_checked_scores(name, grader, pictures, items) for name, grader in self.graders]
        rows = zip(*columns, strict=True)
        if not self.weights:
            return [math.prod(row) for row in rows]
        total = sum(self.weights)
        return [sum(map(float.__mul__, self.weights, row)) / total for row in rows]

    def check(self, items: Sequence[Item]) -> None:
        """Check that every grader can grade the items."""
        for _, grader in self.graders:
            if isinstance(grader, ChecksItems):
                grader.check(items)


def build_mix(
    specs: Sequence[tuple[str, object]], folder: Path, weights: Sequence[float] | None = None
) -> GradersMix:
    """Build the graders of a task from their names and options.

    Args:
        specs: names, each with None, a mapping of options, or the value of the first option.
        folder: base of relative paths.
        weights: weights of the mean; None multiplies the scores.

    Raises:
        KingyoError: an unknown grader or option, or a path that does not exist.
    """
    graders = tuple((name, _build(name, option, folder)) for name, option in specs)
    return GradersMix(graders=graders, weights=tuple(map(float, weights or ())))


def _build(name: str, option: object, folder: Path) -> PictureGrader:
    kind: object = PICTURE_GRADERS.get(name, folder)
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise KingyoError(
            f"grader {name}",
            expected="a frozen dataclass",
            received=f"{kind!r:.80}",
            remedy="Put @dataclass(frozen=True) above the class.",
        )
    grader: Any = parse_settings(cast("type[Any]", kind), option_values(kind, option), f"grader.{name}")
    if not callable(grader):
        raise KingyoError(
            f"grader {name}",
            expected="a callable that takes pictures and their items",
            received=repr(grader)[:80],
            remedy="Write `def __call__(self, pictures, items)`, which returns a list of numbers.",
        )
    return _in_folder(grader, f"grader.{name}", folder)


def _in_folder(grader: Any, where: str, folder: Path) -> Any:
    """Return a grader with absolute paths."""
    moved: dict[str, object] = {}
    for each in cast("Sequence[str]", getattr(grader, "paths", ())):
        place = partial(_place, where=f"{where}: {each}", folder=folder)
        moved |= move_own_paths(grader, {each: getattr(grader, each)}, place)
    return replace(grader, **moved)


def _place(path: str, where: str, folder: Path) -> str:
    """Return the absolute path of a file or folder; names on the Hub stay."""
    name, _ = split_revision(path, folder)
    on_hub = None if is_local(name, folder) else HUB_NAME.fullmatch(name)
    if not is_local(path, folder) and (on_hub is None or on_hub["component"] is not None):
        raise KingyoError(
            where,
            expected="a file or folder, or a model on the Hub (org/name)",
            received=f"{path!r:.80}, and no {local_path(path, folder).resolve()}",
            remedy="Correct the path, which is relative to the file of the task.",
        )
    return absolute_name(path, folder)


def _checked_scores(
    name: str, grader: PictureGrader, pictures: Sequence[Media], items: Sequence[Item]
) -> list[float]:
    """Return the scores of a grader, rounded, after checking them.

    Raises:
        KingyoError: a grader crashes, or returns anything but a number from 0 to 1 for each picture.
    """
    remedy = "Make the grader return a number from 0 to 1 for each picture."
    with crashes_as_errors(f"grader {name}", expected="scores", remedy=remedy):
        scores = [round(float(each), DIGITS) for each in grader(pictures, items)]
    if len(scores) != len(pictures) or not all(0 <= each <= 1 for each in scores):
        wrong = next((each for each in scores if not 0 <= each <= 1), f"{len(scores)} scores")
        raise KingyoError(
            f"grader {name}",
            expected=f"{len(pictures)} numbers from 0 to 1, one per picture",
            received=f"{wrong}",
            remedy=remedy,
        )
    return scores

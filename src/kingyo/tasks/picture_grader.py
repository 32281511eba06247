"""Graders of pictures: their protocol, their registry, and several together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.io.schema import parse_settings
from kingyo.registry import Registry
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
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


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
    first = next((field.name for field in fields(kind)), "option")
    options = {} if option is None else {first: option}
    values = cast("Mapping[str, object]", option) if isinstance(option, Mapping) else options
    grader: Any = parse_settings(cast("type[Any]", kind), values, f"grader.{name}")
    if not callable(grader):
        raise KingyoError(
            f"grader {name}",
            expected="a callable that takes pictures and their items",
            received=repr(grader)[:80],
            remedy="Write `def __call__(self, pictures, items)`, which returns a list of numbers.",
        )
    return _in_folder(grader, folder, f"grader.{name}")


def _in_folder(grader: Any, folder: Path, where: str) -> Any:
    """Return a grader with absolute paths; names on the Hub stay."""
    names = cast("Sequence[str]", getattr(grader, "paths", ()))
    given = {name: value for name in names if (value := getattr(grader, name)) is not None}
    known = cast("Sequence[str]", getattr(grader, "known_names", ()))
    places = {name: folder / value for name, value in given.items() if value not in known}
    found = {name: str(path.resolve()) for name, path in places.items() if path.exists()}
    for name, path in places.items():
        if name not in found and not _HUB_NAME.fullmatch(given[name]):
            raise KingyoError(
                f"{where}: {name}",
                expected="a file or folder, or a model on the Hub (org/name)",
                received=f"{given[name]!r:.80}, and no {path.resolve()}",
                remedy="Correct the path, which is relative to the file of the task.",
            )
    return replace(grader, **found)


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

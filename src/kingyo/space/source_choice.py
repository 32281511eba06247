"""Selection of sources for a merge: a binary gene each, repaired to limits on the count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.errors import KingyoError
from kingyo.methods import MergeMethod
from kingyo.types import Axis


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """Limits on the number of sources.

    Attributes:
        at_least: fewest sources; None: as few as every method takes.
        at_most: most sources; None: all.
        is_open: whether each source has a gene; else all are selected and ``at_most`` decides.
    """

    at_least: int | None = None
    at_most: int | None = None
    is_open: bool = True

    def axes(self, sources: Sequence[str]) -> tuple[Axis, ...]:
        """Return one binary axis per source, named ``use/ja``; a search begins with all of them."""
        if not self.is_open:
            return ()
        return tuple(Axis(name=axis_name(name), low=0, high=1, kind="binary", start=1) for name in sources)

    def limits(self, method: MergeMethod, n_sources: int) -> tuple[int, int]:
        """Return the fewest and the most sources of a merge by this method."""
        fewest = max(self.at_least or 1, method.min_sources)
        most = min(limit for limit in (n_sources, self.at_most, method.max_sources) if limit is not None)
        return fewest, most

    def repair(
        self, selected: Sequence[str], strength: Mapping[str, float], limits: tuple[int, int]
    ) -> tuple[str, ...]:
        """Repair a selection: drop the weakest of too many, add the strongest others to too few.

        Args:
            wanted: sources whose gene is 1.
            strength: strength of each source, in the order of the run; the first of ties wins.
            limits: fewest and most sources.

        Returns:
            Names in the order of the run.
        """
        fewest, most = limits
        ranked = sorted(strength, key=lambda name: (name not in selected, -strength[name]))
        n = min(max(len(selected), fewest), most)
        return tuple(name for name in strength if name in ranked[:n])

    def check(self, methods: Sequence[MergeMethod], n_sources: int) -> None:
        """Check that limits are consistent and that every method can work within them.

        Raises:
            KingyoError: a limit that no selection, or no selection of a method, can satisfy.
        """
        if self.at_least is not None and self.at_least > n_sources:
            raise _wrong(
                "at_least", f"at most {n_sources}, the number of sources", self.at_least, "Lower it."
            )
        if self.at_most is not None and self.at_most < (self.at_least or 1):
            raise _wrong("at_most", f"{self.at_least or 1} or more", self.at_most, "Raise it.")
        for method in methods:
            self._check_method(method)

    def _check_method(self, method: MergeMethod) -> None:
        fewest, most, without = method.min_sources, method.max_sources, "or leave the method out."
        if self.at_least is not None and self.at_least < fewest:
            expected = f"{fewest} or more, which {method.name} needs"
            raise _wrong("at_least", expected, self.at_least, f"Raise it, {without}")
        if self.at_most is not None and self.at_most < fewest:
            expected = f"{fewest} or more, which {method.name} needs"
            raise _wrong("at_most", expected, self.at_most, f"Raise it, {without}")
        if most is not None and self.at_least is not None and self.at_least > most:
            expected = f"at most {most}, the most that {method.name} takes"
            raise _wrong("at_least", expected, self.at_least, f"Lower it, {without}")


def axis_name(source: str) -> str:
    """Return the name of the axis of a source."""
    return f"use/{source}"


def _wrong(key: str, expected: str, received: int, remedy: str) -> KingyoError:
    return KingyoError(
        f"merge.choose_sources.{key}", expected=expected, received=str(received), remedy=remedy
    )

"""Which sources take part in a merge: a gene of 0 or 1 each, and what is done about too few or too many.

It knows names and how strongly each is weighted; no recipe and no tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.errors import KingyoError
from kingyo.methods import MergeMethod
from kingyo.types import Axis


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """How many sources may take part.

    Attributes:
        at_least: the fewest; None is as few as every method takes.
        at_most: a budget on how many; None is all of them.
        is_open: whether each has a gene; else all are asked to take part, and the budget decides.
    """

    at_least: int | None = None
    at_most: int | None = None
    is_open: bool = True

    def axes(self, sources: Sequence[str]) -> tuple[Axis, ...]:
        """One binary axis per source, named ``use/ja``; a search begins with all of them."""
        if not self.is_open:
            return ()
        return tuple(Axis(name=use(name), low=0, high=1, kind="binary", start=1) for name in sources)

    def limits(self, method: MergeMethod, n_sources: int) -> tuple[int, int]:
        """The fewest and the most sources of a merge by this method."""
        fewest = max(self.at_least or 1, method.min_sources)
        most = min(each for each in (n_sources, self.at_most, method.max_sources) if each is not None)
        return fewest, most

    def pick(
        self, wanted: Sequence[str], strength: Mapping[str, float], limits: tuple[int, int]
    ) -> tuple[str, ...]:
        """Repair a choice: of too many the strongest stay, of too few the strongest others join.

        Args:
            wanted: the sources whose gene is 1.
            strength: of every source that may take part, in the order of the run; of equals the first wins.
            limits: see ``limits``.

        Returns:
            Names in the order of the run.
        """
        fewest, most = limits
        ranked = sorted(strength, key=lambda name: (name not in wanted, -strength[name]))
        n = min(max(len(wanted), fewest), most)
        return tuple(name for name in strength if name in ranked[:n])

    def check(self, methods: Sequence[MergeMethod], n_sources: int) -> None:
        """Refuse limits that no choice can keep, or that a method cannot work with.

        Raises:
            KingyoError: so it is.
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
            expected = f"at most {most}, which is all that {method.name} takes"
            raise _wrong("at_least", expected, self.at_least, f"Lower it, {without}")


def use(source: str) -> str:
    """The name of the axis of a source."""
    return f"use/{source}"


def _wrong(key: str, expected: str, received: int, remedy: str) -> KingyoError:
    return KingyoError(
        f"merge.choose_sources.{key}", expected=expected, received=str(received), remedy=remedy
    )

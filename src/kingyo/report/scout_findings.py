"""The findings of a scout for its report, by the names of sources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kingyo.scout.candidate import Candidate
from kingyo.scout.catalogue import Catalogue, Group
from kingyo.scout.choice import ChosenSources, mean_score, names_of
from kingyo.scout.suggestion import dropped_sources, next_gain
from kingyo.stats import Interval


@dataclass(frozen=True, kw_only=True)
class MergeStage:
    """A merge along the way.

    Attributes:
        sources: names, in the order in which they were added; none for the base.
        items: fit item -> score; none if it was not scored.
        gain: what the last source added when it was chosen; None for the base.
        predicted: the prediction of it, with the interval of the prediction.
        groups: item -> its group, for items that belong together.
    """

    sources: tuple[str, ...]
    items: Mapping[str, float]
    gain: Interval | None = None
    predicted: Interval | None = None
    groups: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def score(self) -> Interval | None:
        """Mean score over all items that it was scored on."""
        return mean_score(self.items, self.groups) if self.items else None


@dataclass(frozen=True, kw_only=True)
class ScoutFindings:
    """A choice of sources and what is known of the candidates.

    Attributes:
        found: all candidates.
        group: those that were tried, in the order of the choice's sources; its structure, if weights were
            measured, has also those that were left out because of them.
        choice: the choice.
    """

    found: Catalogue
    group: Group
    choice: ChosenSources

    @cached_property
    def names(self) -> dict[str, str]:
        """Reference -> name; those of sources, and of the candidates that were left out."""
        tried = [each.reference for each in self.group.members]
        named = dict(zip(tried, self.choice.sources, strict=True))
        for each in () if self.group.structure is None else self.group.structure.members:
            (short,) = names_of([each.reference])
            named.setdefault(each.reference, each.reference if short in named.values() else short)
        return named

    @cached_property
    def candidates(self) -> dict[str, Candidate]:
        """Name -> candidate."""
        alike = [group for group in self.found.groups if group.base == self.group.base]
        members = [each for group in (*alike, self.group) for each in group.members]
        return {self.names[each.reference]: each for each in members if each.reference in self.names}

    @cached_property
    def remarks(self) -> dict[str, tuple[str, ...]]:
        """Name -> what is unusual about its weights."""
        structure, remarks = self.group.structure, dict[str, tuple[str, ...]]()
        for each in () if structure is None else structure.members:
            like = each.duplicate_of
            texts = each.findings(has_base=structure is not None and structure.base is not None)
            remarks[self.names[each.reference]] = tuple(
                text if like is None else text.replace(like, self.names[like]) for text in texts
            )
        return remarks

    @property
    def left_out(self) -> list[str]:
        """Candidates that were not tried because of their weights."""
        return [name for name in self.names.values() if name not in self.choice.sources]

    @property
    def others(self) -> list[str]:
        """Candidates that were not chosen, the largest measured gain first."""
        others = [name for name in self.candidates if name not in self.choice.chosen]
        return sorted(others, key=lambda name: -self.gains[name].score if name in self.gains else math.inf)

    @property
    def dropped(self) -> list[str]:
        """Sources that were added and left out at the end."""
        return dropped_sources(self.choice)

    @cached_property
    def gains(self) -> dict[str, Interval]:
        """Source -> the last gain that was measured: when it was added, or in the last step that tried it."""
        return {
            self.choice.sources[i]: gain.interval
            for step in self.choice.steps
            for i, gain in step.gains.items()
            if gain.n
        }

    @cached_property
    def stages(self) -> list[MergeStage]:
        """The base and the merges of the first 1, 2, … sources that were added."""
        choice = self.choice
        stages = [self._stage(choice.steps[0].chosen)] if choice.steps else []
        for step in choice.steps:
            if step.added is not None:
                predicted = step.predicted.get(step.added) if step.chosen else None
                stages.append(
                    self._stage(
                        (*step.chosen, step.added),
                        step.gains[step.added].interval,
                        None if predicted is None else predicted.interval,
                    )
                )
        return stages

    def _stage(
        self, sources: tuple[int, ...], gain: Interval | None = None, predicted: Interval | None = None
    ) -> MergeStage:
        names = tuple(self.choice.sources[i] for i in sources)
        items = self.choice.item_scores.get(names, {})
        return MergeStage(
            sources=names, items=items, gain=gain, predicted=predicted, groups=self.choice.item_groups
        )

    @cached_property
    def final(self) -> MergeStage | None:
        """The merge of the chosen sources if some were dropped at the end; None if it is the last stage."""
        chosen = self.choice.chosen
        if not self.dropped:
            return None
        return MergeStage(
            sources=chosen,
            items=self.choice.item_scores.get(chosen, {}),
            groups=self.choice.item_groups,
        )

    @property
    def next(self) -> tuple[str, Interval] | None:
        """The best source that was not added at the end, and its gain; None if all were, or it is open."""
        best = next_gain(self.choice)
        return None if best is None or not best[1].n else (best[0], best[1].interval)

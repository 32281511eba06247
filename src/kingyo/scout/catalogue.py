"""Read all candidates, choose the base, and group the candidates that can be merged together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.model_reference import with_denoiser
from kingyo.errors import KingyoError
from kingyo.io.model_names import is_local
from kingyo.scout.base import BaseChoice, Names, choose_base
from kingyo.scout.candidate import REASONS, Candidate, Exclusion
from kingyo.scout.place import Place
from kingyo.scout.reading import Reading, open_model
from kingyo.scout.verdict import Rules, in_words

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Candidates that can be merged with one another.

    Attributes:
        like: the model that they were compared with: the base, or the first of them.
        members: the candidates; the base is not one of them.
    """

    like: str
    members: tuple[Candidate, ...]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All candidates: those that can be merged, in groups, and the others.

    Attributes:
        base: the base; None if there is none, and then each group is a family of its own.
        why: why this base, or why none.
    """

    base: str | None
    why: str
    groups: tuple[Group, ...]
    excluded: tuple[Candidate, ...]

    @property
    def n_mergeable(self) -> int:
        """How many candidates can be merged."""
        return sum(len(group.members) for group in self.groups)

    @property
    def reasons(self) -> dict[str, int]:
        """How many candidates are excluded, by reason."""
        found = Counter(each.exclusion.reason for each in self.excluded if each.exclusion is not None)
        return {reason: found[reason] for reason in REASONS if found[reason]}

    def to_json(self) -> dict[str, object]:
        """Return everything as data."""
        return {
            "base": self.base,
            "why": self.why,
            "groups": [
                {"like": group.like, "candidates": [each.to_json() for each in group.members]}
                for group in self.groups
            ],
            "excluded": [each.to_json() for each in self.excluded],
            "counts": {
                "candidates": self.n_mergeable + len(self.excluded),
                "mergeable": self.n_mergeable,
                "excluded": self.reasons,
            },
        }


def catalogue(
    places: Sequence[Place],
    base: str | None = None,
    rules: Rules | None = None,
    advance: Advance = lambda _: None,
) -> Catalogue:
    """Read all candidates and compare them with the base, or without one with each other.

    Args:
        places: the candidates.
        base: the base; None for the one that most candidates name.
        rules: what the user allows.
        advance: called with the number of candidates that were read since the last call.

    Raises:
        KingyoError: ``base`` cannot be opened.
    """
    rules = rules or Rules()
    names = Names(places, None if base is None else with_denoiser(base))
    meant = names.all_meant(places)
    choice = choose_base(places, base, meant)
    opened, choice = _open_base(choice, rules, is_given=base is not None)
    is_here = opened is not None and is_local(opened.reference)
    reading = Reading(rules, opened, names.among(opened.reference) if opened and is_here else None)
    adapters: dict[str | None, list[Place]] = {}
    for place, claim in zip(places, meant, strict=True):
        if place.is_adapter:
            adapters.setdefault(place.on or claim or choice.base, []).append(place)
    for place in places:
        if not place.is_adapter:
            own = adapters.pop(place.name, [])
            reading.read(place, own)
            advance(1 + len(own))
    for on, orphans in adapters.items():
        reading.read_orphans(on, orphans)
        advance(len(orphans))
    return _grouped(choice, reading)


def _open_base(choice: BaseChoice, rules: Rules, *, is_given: bool) -> tuple[Checkpoint | None, BaseChoice]:
    if choice.base is None:
        return None, choice
    try:
        return open_model(choice.base, rules), choice
    except KingyoError as error:
        if is_given:
            raise error.placed("--base") from error
        why = f"{choice.base}, {choice.why}, cannot be read ({in_words(error):.300}); pass --base M"
        return None, BaseChoice(base=None, why=why)


def _grouped(choice: BaseChoice, reading: Reading) -> Catalogue:
    """Return all candidates, the largest group first; without a base, a group of one is excluded."""
    groups, excluded = list[Group](), list(reading.excluded)
    for like, members in reading.groups.items():
        if choice.base is None and len(members) == 1:
            excluded.append(replace(members[0], exclusion=Exclusion(reason="nothing else fits it")))
        elif members:
            groups.append(Group(like=like, members=tuple(members)))
    ranks = {reason: rank for rank, reason in enumerate(REASONS)}
    return Catalogue(
        base=choice.base,
        why=choice.why,
        groups=tuple(sorted(groups, key=lambda group: -len(group.members))),
        excluded=tuple(
            sorted(excluded, key=lambda each: ranks[each.exclusion.reason] if each.exclusion else -1)
        ),
    )

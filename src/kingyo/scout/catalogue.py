"""Read all candidates, find their bases, group those that can be merged together, and measure the groups."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.locate import open_together
from kingyo.merging.checkpoints.model_reference import with_denoiser
from kingyo.scout.base import Names, named_bases
from kingyo.scout.candidate import REASONS, Candidate, Exclusion, in_words
from kingyo.scout.measuring import Progress, measure_group
from kingyo.scout.on_hub import patiently
from kingyo.scout.places import Place, broken
from kingyo.scout.reading import Reading, open_model
from kingyo.scout.structure import Structure
from kingyo.store.side_databases import EvidenceStore

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Candidates that can be merged with one another, and the base that they fit, if any; it is no member.

    Without a ``structure`` the weights were not measured.
    """

    base: str | None
    members: tuple[Candidate, ...]
    structure: Structure | None = None

    def to_json(self) -> dict[str, object]:
        measured = {} if self.structure is None else {"structure": self.structure.to_json()}
        candidates = [each.to_json() for each in self.members]
        return {"base": self.base, "candidates": candidates, **measured}


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All candidates: those that can be merged, in groups, and the others.

    Attributes:
        base: the only base that the user allows; None for all that candidates name.
        groups: the largest first.
        unread: bases that candidates name and that cannot be read, with the reason.
    """

    base: str | None
    groups: tuple[Group, ...]
    excluded: tuple[Candidate, ...]
    unread: Mapping[str, str]

    @property
    def n_mergeable(self) -> int:
        return sum(len(group.members) for group in self.groups)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of excluded candidates by reason."""
        found = Counter(each.exclusion.reason for each in self.excluded if each.exclusion is not None)
        return {reason: found[reason] for reason in REASONS if found[reason]}

    @property
    def excluded_in_words(self) -> str:
        """How many candidates are excluded, in all and for each reason."""
        reasons = ", ".join(f"{reason} ({n})" for reason, n in self.reasons.items())
        return f"{len(self.excluded)} excluded: {reasons}" if reasons else "none excluded"

    @property
    def in_words(self) -> str:
        """How many candidates can be merged, and how many are excluded for each reason."""
        total = counted(self.n_mergeable + len(self.excluded), "candidate")
        groups = counted(len(self.groups), "group")
        return f"{total}: {self.n_mergeable} can be merged in {groups}; {self.excluded_in_words}."

    def to_json(self) -> dict[str, object]:
        return {
            "base": self.base,
            "groups": [group.to_json() for group in self.groups],
            "excluded": [each.to_json() for each in self.excluded],
            "unread_bases": dict(self.unread),
            "counts": {
                "candidates": self.n_mergeable + len(self.excluded),
                "mergeable": self.n_mergeable,
                "excluded": self.reasons,
            },
        }


def catalogue(
    places: Sequence[Place],
    base: str | None = None,
    advance: Advance = lambda _: None,
    *,
    allow_pickle: bool = False,
) -> Catalogue:
    """Read all candidates and compare them with their bases, or without one with each other.

    Args:
        places: the candidates.
        base: the only base; None for all that candidates name.
        advance: called with the number of candidates that were read since the last call.
        allow_pickle: whether to read local weights that exist only as pickles.
    """
    try:
        base = None if base is None else with_denoiser(base)
    except KingyoError as error:
        raise error.placed("--base") from error
    names = Names(places, base)
    base = None if base is None else names.exact(base)
    meant = names.all_meant(places)
    opened, unread = dict[str, Checkpoint](), dict[str, str]()
    for name in named_bases(places, meant) if base is None else [base]:
        try:
            opened[name] = open_model(name, allow_pickle=allow_pickle)
        except Exception as error:
            problem = broken(name, error)
            if base is not None:
                raise problem.placed("--base") from error
            unread[name] = in_words(problem)
    reading = Reading(opened, allow_pickle=allow_pickle)
    adapters: dict[str | None, dict[str, Place]] = {}
    for place, claim in zip(places, meant, strict=True):
        if place.is_adapter:
            on = claim if place.on is None else names.exact(place.on)
            adapters.setdefault(on or next(iter(opened), None), {})[place.name] = place
    for place, claim in zip(places, meant, strict=True):
        if not place.is_adapter:
            own = [*adapters.pop(place.name, {}).values()]
            reading.read(place, base or claim, own)
            advance(1 + len(own))
    for on, orphans in adapters.items():
        reading.read_orphans(on, base or on, [*orphans.values()])
        advance(len(orphans))
    groups = [Group(base=name, members=tuple(members)) for name, members in reading.groups.items() if members]
    groups += [
        Group(base=None, members=tuple(members)) for members in reading.families.values() if len(members) > 1
    ]
    alone = [  # a family of one is no family
        replace(members[0], exclusion=reading.misfits[like])
        for like, members in reading.families.items()
        if len(members) == 1
    ]
    return Catalogue(
        base=base,
        groups=tuple(sorted(groups, key=lambda group: -len(group.members))),
        excluded=_by_reason([*reading.excluded, *alone]),
        unread=unread,
    )


def _by_reason(excluded: Iterable[Candidate]) -> tuple[Candidate, ...]:
    ranks = {reason: rank for rank, reason in enumerate(REASONS)}
    return tuple(sorted(excluded, key=lambda each: ranks[each.exclusion.reason] if each.exclusion else -1))


def with_structures(
    found: Catalogue,
    store: EvidenceStore,
    limit: int,
    progress: Progress = lambda _done, _total: None,
    *,
    allow_pickle: bool = False,
) -> Catalogue:
    """Return a catalogue whose groups with a base have their ``structure``, without models with NaN.

    Args:
        found: the catalogue. Weights of models on the Hub are downloaded.
        store: measurements of earlier calls, which are not repeated.
        limit: most bytes to read for each group.
        progress: called after each tensor of a group.
        allow_pickle: whether to read weights that exist only as pickles.
    """
    groups, excluded = list[Group](), list(found.excluded)
    for group in found.groups:
        if group.base is None:
            groups.append(group)
            continue
        names = [*(each.reference for each in group.members), group.base]
        opened = patiently(lambda names=names: open_together(names, allow_pickle=allow_pickle))
        base, *models = (opened[name] for name in (group.base, *names[:-1]))
        structure, not_finite = measure_group(base, models, store, limit, progress)
        stay = [each for each in group.members if each.reference not in not_finite]
        for each in group.members:
            if each.reference in not_finite:
                where = not_finite[each.reference]
                out = Exclusion(reason="weights that are not finite", detail=where)
                excluded.append(replace(each, exclusion=out))
        if stay:
            groups.append(replace(group, members=tuple(stay), structure=structure))
    return replace(found, groups=tuple(groups), excluded=_by_reason(excluded))

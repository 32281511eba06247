"""Add to a catalogue what the weights of its groups show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kingyo.merging.checkpoints.locate import open_together
from kingyo.scout.candidate import Candidate, Exclusion
from kingyo.scout.catalogue import Catalogue, Group, by_reason
from kingyo.scout.measuring import Progress, measure_group
from kingyo.scout.on_hub import patiently
from kingyo.store.side_databases import EvidenceStore


def with_structures(
    found: Catalogue,
    store: EvidenceStore,
    limit: int,
    progress: Progress = lambda _done, _total: None,
    *,
    allow_pickle: bool = False,
) -> Catalogue:
    """Return a catalogue whose groups have their ``structure``; models that are not finite are excluded.

    Args:
        found: the catalogue. Weights of models on the Hub are downloaded.
        store: measurements of earlier calls, which are not repeated.
        limit: most bytes to read for each group.
        progress: called after each tensor of a group.
        allow_pickle: whether to read weights that exist only as pickles.

    Raises:
        KingyoError: see ``measure_group``; or a model can no longer be opened.
    """
    groups, excluded = list[Group](), list(found.excluded)
    for group in found.groups:
        measured, out = _measure(group, store, limit, progress, allow_pickle=allow_pickle)
        excluded += out
        groups += [measured] if measured.members else []
    return replace(found, groups=tuple(groups), excluded=by_reason(excluded))


def _measure(
    group: Group, store: EvidenceStore, limit: int, progress: Progress, *, allow_pickle: bool
) -> tuple[Group, list[Candidate]]:
    """Return the group with its structure and without the members that are excluded, and these."""
    references = [each.reference for each in group.members]
    names = [*references, *([] if group.base is None else [group.base])]
    opened = patiently(lambda: open_together(names, allow_pickle=allow_pickle))
    base = None if group.base is None else opened[group.base]
    measured = measure_group(base, [opened[name] for name in references], store, limit, progress)
    stay = [each for each in group.members if each.reference not in measured.not_finite]
    out = [each for each in group.members if each.reference in measured.not_finite]
    excluded = [_excluded(each, measured.not_finite) for each in out]
    if base is None and len(stay) == 1:
        alone = Exclusion(reason="fits no other model", detail="the weights of the others are not finite")
        excluded.append(replace(stay.pop(), exclusion=alone))
    return replace(group, members=tuple(stay), structure=measured.structure), excluded


def _excluded(candidate: Candidate, where: Mapping[str, str]) -> Candidate:
    tensor = where[candidate.reference]
    return replace(candidate, exclusion=Exclusion(reason="weights that are not finite", detail=tensor))

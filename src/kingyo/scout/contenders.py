"""The candidates that a choice of sources considers, and what the weights tell about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kingyo.errors import KingyoError
from kingyo.scout.catalogue import Catalogue, Group
from kingyo.scout.choice import WeightEvidence


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """The members of a group that are tried.

    Attributes:
        group: the group with these members only.
        left_out: member -> why it is not tried.
    """

    group: Group
    left_out: Mapping[str, str]


def contenders(found: Catalogue, argument: str = "--task") -> Contenders:
    """Return the members of the largest group with a base, without near-duplicates and copies of the base.

    Args:
        found: the catalogue.
        argument: what the user wrote, for the error.

    Raises:
        KingyoError: no group has a base and two such members.
    """
    groups = [_tried(group) for group in found.groups if group.base is not None]
    fit = [each for each in groups if len(each.group.members) > 1]
    if not fit:
        raise KingyoError(
            argument,
            expected="two candidates or more that fit one base and differ",
            received=_counts(found, groups),
            remedy="Name more candidates, or their base.",
        )
    return max(fit, key=lambda each: len(each.group.members))


def _counts(found: Catalogue, groups: Sequence[Contenders]) -> str:
    n_copies = sum(len(group.left_out) for group in groups)
    copies = f", {n_copies} of them equal to the base or nearly equal to others" if n_copies else ""
    return f"{found.n_mergeable} that can be merged{copies}; {found.excluded_in_words}"


def _tried(group: Group) -> Contenders:
    left_out: dict[str, str] = {}
    for each in () if group.structure is None else group.structure.members:
        if each.equals_base or each.duplicate_of is not None:
            left_out[each.reference] = each.findings(has_base=True)[0]
    members = tuple(each for each in group.members if each.reference not in left_out)
    return Contenders(group=replace(group, members=members), left_out=left_out)


def evidence_of(group: Group, sources: Mapping[str, str]) -> WeightEvidence:
    """Return what the weights tell: features (log norm, mean sign conflict), cosines, and changes by block.

    Args:
        group: with or without its structure.
        sources: name -> reference.
    """
    structure = group.structure
    if structure is None:
        return WeightEvidence()
    place = {each.reference: i for i, each in enumerate(structure.members)}
    features: dict[str, tuple[float, float]] = {}
    changes: dict[str, dict[str, tuple[float, int]]] = {}
    for name, reference in sources.items():
        i = place[reference]
        conflict = structure.mean_conflict(i)
        norm, shares = structure.members[i].norm, structure.members[i].layers
        changes[name] = {
            block: (share * norm**2, structure.by_layer[block]) for block, share in shares.items()
        }
        features[name] = (math.log(norm) if norm else 0.0, 0.5 if conflict is None else conflict)
    cosines = np.nan_to_num(structure.cosines)
    similarity = {
        (a, b): float(cosines[place[sources[a]], place[sources[b]]]) for a in sources for b in sources
    }
    return WeightEvidence(features=features, similarity=similarity, changes=changes)

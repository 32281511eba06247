"""A source has a weight in each of up to four spans of layers, and its change there is known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from kingyo.run.run import Run
from kingyo.scout import Rules, catalogue, find_places
from kingyo.scout.choice import config_for
from kingyo.scout.contenders import evidence_of
from kingyo.scout.evidence import with_structures
from kingyo.scout.spans import Spans
from kingyo.store.evidence import EvidenceStore
from tests.space.spaces import LAYOUT

SIGHT = Path(__file__).parents[2] / "zoo" / "sight"


def spans(groups: str) -> Spans:
    return Spans(layout=LAYOUT, groups=groups)


def test_norms_of_spans() -> None:
    """Embeddings count with the first span, the head with the last; blocks without a change do not."""
    changes = {"embedding": (8.0, 2), "block.0": (4.0, 1), "block.5": (0.0, 9), "block.6": (25.0, 1)}
    assert spans("layers:2").norms(changes) == pytest.approx((2.0, 5.0))
    assert spans("one").norms(changes) == pytest.approx((math.sqrt(37 / 4),))
    assert spans("layers:4").norms({}) == (0.0,) * 4


def test_weights_by_finer_spans() -> None:
    """A finer span has the weight of the one that it is within."""
    weights = (0.0, 0.7)
    fine, coarse = spans("layers:6"), spans("layers:2")
    assert fine.spread(weights) == [0.0] * 3 + [0.7] * 3
    by_name = dict(zip(LAYOUT.groups(coarse.groups).values(), weights, strict=True))
    for names, weight in zip(LAYOUT.groups(fine.groups).values(), fine.spread(weights), strict=True):
        assert [own for wide, own in by_name.items() if set(names) <= set(wide)] == [weight]


def test_blocks_that_are_not_merged_do_not_count() -> None:
    changes = {"block.0": (4.0, 1), "vision.block.0": (100.0, 1)}
    assert spans("one").norms(changes) == (2.0,)


def test_language_models_in_the_frame_of_one_that_sees(tmp_path: Path) -> None:
    """Their blocks are found, although the frame has other names."""
    places = find_places([str(SIGHT / name) for name in ("base", "ja", "see-en", "multi")], (), 100, print)
    found = catalogue(places, str(SIGHT / "base"), Rules(), lambda _: None)
    with EvidenceStore(tmp_path) as store:
        (group,) = with_structures(found, store, 10**9).groups
    config = config_for(group, {"task": TASK}, Path(), 0, "multi")
    names = dict(zip(config.sources, (each.reference for each in group.members), strict=True))
    known = Spans.of(Run.open(config, Path()))
    assert known.groups == "layers:4"
    assert all(min(known.norms(each)) > 0 for each in evidence_of(group, names).changes.values())


TASK = {
    "data": str(SIGHT / "tasks" / "questions-ja.jsonl"),
    "prompt": "{question}",
    "answer": "answer",
    "grader": "exact",
    "splits": {"fit": 4, "validation": 4, "test": 4},
}

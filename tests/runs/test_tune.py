"""Rates of tuning, what it refuses, and which kinds of models can be tuned."""

from __future__ import annotations

import pytest

from kingyo.errors import KingyoError
from kingyo.models.kinds import MODEL_KINDS, TrainsLora, require_ability
from kingyo.runs.adapters import AdapterSetting, Training
from kingyo.runs.tune import REMEDY, Kept, relative_rates


def kept(bred: list[float], tuned: list[float], limit: float) -> Kept:
    rows = {str(n): dict(zip("abcd", scores, strict=True)) for n, scores in enumerate((bred, tuned))}
    return Kept(file="other.yaml", limit=limit, items="", groups=dict.fromkeys("abcd", ""), scores=rows)


@pytest.mark.parametrize(
    ("tuned", "limit", "lost"),
    [([1, 1, 1, 0], 25, None), ([1, 1, 1, 0], 24, "25.0 points"), ([1, 1, 1, 1], 0, None)],
)
def test_what_loses_more_than_the_limit_is_refused(
    tuned: list[float], limit: float, lost: str | None
) -> None:
    reason = kept([1, 1, 1, 1], tuned, limit).refusal(1)
    assert (reason is None) == (lost is None)
    assert lost is None or (reason is not None and lost in reason and "n = 4" in reason)


def test_the_usual_rate_is_tried_only_with_many_items() -> None:
    assert relative_rates(99) == (0.3, 0.1) and relative_rates(100) == (0.3, 0.1, 1.0)


@pytest.mark.parametrize("kind", ["text-to-image", "image-classification", "image-text-to-text"])
def test_kinds_that_cannot_train_are_one_error(kind: str) -> None:
    with pytest.raises(KingyoError) as raised:
        require_ability("tune", TrainsLora, MODEL_KINDS.get(kind), REMEDY)
    assert raised.value.argument == "tune" and kind in raised.value.received


@pytest.mark.parametrize(("start", "numbers"), [(None, [1, 0]), (7, [1, 2])])
def test_candidates_name_their_adapters(start: int | None, numbers: list[int]) -> None:
    """Of tuning, candidate 0 is the model itself; candidates of the control may share the first adapters."""
    settings = tuple(AdapterSetting(answers="found", learning_rate=rate) for rate in (0.1, 0.2))
    training = Training(
        parent="a", reference="a", items=1, examples=1, steps=1, last=1, settings=settings, start=start
    )
    assert [training.number_of(candidate) for candidate in (1, 2)] == numbers

"""The part of the contract of strategies that further axes and settings of one strategy need to keep."""

from __future__ import annotations

from kingyo.testing.strategies import StrategyContract


class VariantContract(StrategyContract):
    """Bounds, parents, replay, order of tells, failures, known points; the rest does not depend on these."""

    test_numbers_count_on_from_zero = None
    test_asks_do_not_wait_for_tells = None
    test_repeated_and_empty_tells_are_ignored = None
    test_several_objectives_are_taken = None
    test_partial_scores_are_taken = None
    test_wrong_outcomes_are_refused = None

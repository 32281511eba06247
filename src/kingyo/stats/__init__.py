"""Intervals, paired tests, and predictions of scores, from item scores as plain numbers.

All random methods take a seed. scipy is imported where it is used, so that other commands start without it.
"""

from kingyo.stats.groups import Groups, size_of
from kingyo.stats.intervals import (
    NORMAL,
    ROUNDING,
    Array,
    Interval,
    SampleSize,
    interval_json,
    mean_name,
    with_groups,
)
from kingyo.stats.means import bounded_mean, interval, lower_quantile, mean_of_runs, weighted_mean, wilson
from kingyo.stats.paired import PairedDifference, mcnemar, paired_difference, sign_flips

__all__ = [
    "NORMAL",
    "ROUNDING",
    "Array",
    "Groups",
    "Interval",
    "PairedDifference",
    "SampleSize",
    "bounded_mean",
    "interval",
    "interval_json",
    "lower_quantile",
    "mcnemar",
    "mean_name",
    "mean_of_runs",
    "paired_difference",
    "sign_flips",
    "size_of",
    "weighted_mean",
    "wilson",
    "with_groups",
]

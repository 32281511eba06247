"""Intervals, paired tests, and predictions of scores, from item scores as plain numbers.

All random methods take a seed. scipy is imported where it is used, so that other commands start without it.
"""

from kingyo.stats.groups import Groups as Groups
from kingyo.stats.groups import size_of as size_of
from kingyo.stats.intervals import NORMAL as NORMAL
from kingyo.stats.intervals import ROUNDING as ROUNDING
from kingyo.stats.intervals import Array as Array
from kingyo.stats.intervals import Interval as Interval
from kingyo.stats.intervals import SampleSize as SampleSize
from kingyo.stats.intervals import interval_json as interval_json
from kingyo.stats.intervals import mean_name as mean_name
from kingyo.stats.intervals import with_groups as with_groups
from kingyo.stats.means import bounded_mean as bounded_mean
from kingyo.stats.means import interval as interval
from kingyo.stats.means import lower_quantile as lower_quantile
from kingyo.stats.means import mean_of_runs as mean_of_runs
from kingyo.stats.means import weighted_mean as weighted_mean
from kingyo.stats.means import wilson as wilson
from kingyo.stats.paired import PairedDifference as PairedDifference
from kingyo.stats.paired import mcnemar as mcnemar
from kingyo.stats.paired import paired_difference as paired_difference
from kingyo.stats.paired import sign_flips as sign_flips

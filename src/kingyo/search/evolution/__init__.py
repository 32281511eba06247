"""The search loop of a run: baselines, searches, validation, and test.

It moves trials between a strategy, an evaluator and the store. The store's log is the state: a resumed run
replays it into a new strategy, checks that it asks for the stored genomes, and continues.
"""

from kingyo.search.evolution.journey import Journey as Journey
from kingyo.search.evolution.journey import Stage as Stage
from kingyo.search.evolution.journey import fixed as fixed
from kingyo.search.evolution.objectives import Front as Front
from kingyo.search.evolution.objectives import FrontPoint as FrontPoint
from kingyo.search.evolution.objectives import Objectives as Objectives
from kingyo.search.evolution.objectives import objectives_as_facts as objectives_as_facts
from kingyo.search.evolution.objectives import read_front as read_front
from kingyo.search.evolution.objectives import stored_objectives as stored_objectives
from kingyo.search.evolution.picking import Finalist as Finalist
from kingyo.search.evolution.picking import finalists_fact as finalists_fact
from kingyo.search.evolution.picking import read_finalists as read_finalists
from kingyo.search.evolution.types import BASELINES as BASELINES
from kingyo.search.evolution.types import MAIN as MAIN
from kingyo.search.evolution.types import RACED as RACED
from kingyo.search.evolution.types import Event as Event
from kingyo.search.evolution.types import Limits as Limits
from kingyo.search.evolution.types import Search as Search
from kingyo.search.evolution.types import Space as Space
from kingyo.search.evolution.types import ignore_events as ignore_events

"""The search loop of a run: baselines, searches, validation, and test.

It moves trials between a strategy, an evaluator and the store. The store's log is the state: a resumed run
replays it into a new strategy, checks that it asks for the stored genomes, and continues.
"""

from kingyo.search.evolution.journey import Journey, Stage, fixed
from kingyo.search.evolution.objectives import (
    Front,
    FrontPoint,
    Objectives,
    objectives_as_facts,
    read_front,
    stored_objectives,
)
from kingyo.search.evolution.picking import Finalist, finalists_fact, read_finalists
from kingyo.search.evolution.types import BASELINES, MAIN, RACED, Event, Limits, Search, Space, ignore_events

__all__ = [
    "BASELINES",
    "MAIN",
    "RACED",
    "Event",
    "Finalist",
    "Front",
    "FrontPoint",
    "Journey",
    "Limits",
    "Objectives",
    "Search",
    "Space",
    "Stage",
    "finalists_fact",
    "fixed",
    "ignore_events",
    "objectives_as_facts",
    "read_finalists",
    "read_front",
    "stored_objectives",
]

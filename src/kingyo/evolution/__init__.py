"""The journey of a run: baselines, searches, validation, and the test split once.

The one loop of the project. It knows no algorithm by name and no model: it moves trials between a strategy,
an evaluator and the store. The store's log is the state: a run that is resumed replays it into a fresh
strategy (or what follows its latest noted state), checks that it asks for the stored genomes, and goes on.
"""

from kingyo.evolution.front import Front, FrontPoint, read_front
from kingyo.evolution.journey import Journey
from kingyo.evolution.objectives import Objectives, objectives_as_facts, stored_objectives
from kingyo.evolution.picking import Finalist, finalists_fact, read_finalists
from kingyo.evolution.types import (
    BASELINES,
    MAIN,
    RACED,
    Event,
    Limits,
    Search,
    Space,
    ignore_events,
)

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
    "finalists_fact",
    "ignore_events",
    "objectives_as_facts",
    "read_finalists",
    "read_front",
    "stored_objectives",
]

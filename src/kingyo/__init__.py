"""kingyo breeds new foundation models out of existing ones.

``kingyo.merge`` merges models according to a recipe, ``kingyo.evolve`` searches for the best recipe; see
docs/api.md.
Names are imported on first use, so importing this module is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kingyo.api import (
        evolve,
        export_model,
        load_recipe,
        merge,
        open_checkpoint,
        resume,
        scout_models,
        summarize,
        tune,
        write_report,
    )
    from kingyo.errors import KingyoError
    from kingyo.methods import METHODS
    from kingyo.models.kinds import MODEL_KINDS
    from kingyo.recipe import Recipe
    from kingyo.run.run import Run
    from kingyo.strategies import STRATEGIES
    from kingyo.tasks import GRADERS, TASK_KINDS

__version__ = "0.1.0.dev0"

__all__ = [
    "GRADERS",
    "METHODS",
    "MODEL_KINDS",
    "STRATEGIES",
    "TASK_KINDS",
    "KingyoError",
    "Recipe",
    "Run",
    "evolve",
    "export_model",
    "load_recipe",
    "merge",
    "open_checkpoint",
    "resume",
    "scout_models",
    "summarize",
    "tune",
    "write_report",
]

_HOMES = {
    "GRADERS": "tasks",
    "METHODS": "methods",
    "MODEL_KINDS": "models.kinds",
    "STRATEGIES": "strategies",
    "TASK_KINDS": "tasks",
    "KingyoError": "errors",
    "Recipe": "recipe",
    "Run": "run.run",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'kingyo' has no attribute '{name}'")
    return getattr(import_module(f"kingyo.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

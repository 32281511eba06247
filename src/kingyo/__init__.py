"""kingyo breeds new foundation models out of existing ones.

``kingyo.merge`` merges models according to a recipe, ``kingyo.evolve`` searches for the best recipe; see
docs/api.md.
Names are imported on first use, so importing this module is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kingyo.api.merging import load_recipe as load_recipe
    from kingyo.api.merging import merge as merge
    from kingyo.api.merging import open_checkpoint as open_checkpoint
    from kingyo.api.progress import Progress as Progress
    from kingyo.api.results import StoredRun as StoredRun
    from kingyo.api.results import export_model as export_model
    from kingyo.api.results import open_run as open_run
    from kingyo.api.results import summarize as summarize
    from kingyo.api.results import write_report as write_report
    from kingyo.api.runs import control as control
    from kingyo.api.runs import evolve as evolve
    from kingyo.api.runs import resume as resume
    from kingyo.api.runs import tune as tune
    from kingyo.api.scoring import evaluate as evaluate
    from kingyo.api.scouting import scout_models as scout_models
    from kingyo.errors import KingyoError as KingyoError
    from kingyo.merging.methods import METHODS as METHODS
    from kingyo.merging.recipe import Recipe as Recipe
    from kingyo.models.kinds import MODEL_KINDS as MODEL_KINDS
    from kingyo.search.strategies import STRATEGIES as STRATEGIES
    from kingyo.tasks import GRADERS as GRADERS
    from kingyo.tasks import TASK_KINDS as TASK_KINDS

__version__ = "0.1.0.dev0"

_HOMES = {
    "GRADERS": "tasks",
    "METHODS": "merging.methods",
    "MODEL_KINDS": "models.kinds",
    "STRATEGIES": "search.strategies",
    "TASK_KINDS": "tasks",
    "KingyoError": "errors",
    "Progress": "api.progress",
    "Recipe": "merging.recipe",
    "StoredRun": "api.results",
    "control": "api.runs",
    "evaluate": "api.scoring",
    "evolve": "api.runs",
    "export_model": "api.results",
    "load_recipe": "api.merging",
    "merge": "api.merging",
    "open_checkpoint": "api.merging",
    "open_run": "api.results",
    "resume": "api.runs",
    "scout_models": "api.scouting",
    "summarize": "api.results",
    "tune": "api.runs",
    "write_report": "api.results",
}

__all__ = [*_HOMES]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'kingyo' has no attribute '{name}'")
    return getattr(import_module(f"kingyo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

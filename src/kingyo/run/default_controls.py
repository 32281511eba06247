"""The control that a run has by default: a short training where its items have reference answers."""

from __future__ import annotations

from dataclasses import replace

from kingyo.errors import KingyoError
from kingyo.kernels.statistics_cache import memory_size
from kingyo.run.config import TRAINED
from kingyo.run.model_kind import preprocessor_of
from kingyo.run.run import Run
from kingyo.run.searches import require_control
from kingyo.tasks import examples_of, require_teaching

SHARE = 0.25
"""Share of the main search's seconds on fit."""
ENOUGH = 0.5
"""Share of the fit items whose reference answers the graders must accept."""
_MOST_PARAMETERS, _BYTES = 10**9, 16  # of memory per parameter: a default must not be what fills it


def with_default_controls(run: Run) -> Run:
    """Return a run that has not begun with the control ``trained``, if run.yaml leaves that open."""
    controls = run.config.controls
    if controls.trained is not None or not has_targets(run):
        return run
    changed = controls.model_copy(update={TRAINED: SHARE})
    begun = replace(run, config=run.config.model_copy(update={"controls": changed}))
    vars(begun).update({name: vars(run)[name] for name in ("data", "task", "kind") if name in vars(run)})
    return begun


def has_targets(run: Run) -> bool:
    """Return whether a LoRA could be trained on the reference answers of the fit items.

    What is wrong with a run is no matter here; the preflight says it.
    """
    size = run.models.skeleton.n_parameters
    if size > _MOST_PARAMETERS or _BYTES * size > memory_size():
        return False
    try:
        require_control(TRAINED, run)
        require_teaching(run.task)
        fit = run.items["fit"]
        own = preprocessor_of(run.kind, run.models.skeleton.path)
        examples = examples_of(run.task, own, fit, {}, prefers_given=False)
    except KingyoError:
        return False
    return len({each.item for each in examples}) >= ENOUGH * len(fit)

"""Begin a run: check everything, then create its folder and store its settings, models and items."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kingyo import __version__
from kingyo.core.io.lazy_torch import torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fingerprints_of, stamps_of
from kingyo.merging.kernels.statistics_cache import memory_size
from kingyo.runs.choice import CANDIDATES, CHOSEN, ITEMS, REQUEST, ChoiceRequest, ChoiceStage, with_sources
from kingyo.runs.config import TRAINED
from kingyo.runs.config_file import config_from_data
from kingyo.runs.extensions import DEFAULT_CONTROLS, POSSIBLE_CONTROLS, TUNABLE
from kingyo.runs.model_kind import preprocessor_of
from kingyo.runs.preflight import check, check_prompts, notes, warnings
from kingyo.runs.provenance import CODE, VERSIONS, libraries_of, provenance_facts, require_same
from kingyo.runs.run import Run
from kingyo.runs.searches import possible_controls, require_control
from kingyo.runs.seed_runs import require_same_setup
from kingyo.runs.settings import LEARNABLE, LEARNS, obstacles
from kingyo.runs.setup import MODELS, STAMPS, THREADS, as_fact, known_fingerprints, require_same_models
from kingyo.runs.tune import is_tunable
from kingyo.search.evolution import Event, objectives_as_facts
from kingyo.search.space import STEPS
from kingyo.store import CONFIG, NOTES, WARNINGS, RunStore
from kingyo.store.trial_log import OPENED
from kingyo.tasks import examples_of, require_teaching

FEW_PARAMETERS = 10_000_000
"""Models with fewer parameters use one thread by default."""


def begin(
    run: Run,
    path: Path,
    *,
    seeds: Path | None = None,
    file: Path | None = None,
    request: ChoiceRequest | None = None,
) -> Run:
    """Check a run, create its folder, store what it consists of, and return it with its open store.

    Args:
        run: opened from a run.yaml; if its sources are chosen first, all candidates are its sources.
        seeds: folder with the runs of other seeds, which must differ in nothing else.
        file: the run.yaml; its name is stored.
        request: what the choice of sources is asked for; None if the user named them.
    """
    contents = _checked(run, request)
    asked = {} if request is None else {REQUEST: request}
    if seeds is not None:
        require_same_setup(seeds, {**contents, **asked, "items": run.items})
    facts = {
        "version": __version__,
        "created": time.time(),
        "status": "running",
        "folder": str(run.folder.resolve()),
        **({} if file is None else {"run_yaml": file.name}),
        "folder_from_run": os.path.relpath(run.folder.resolve(), path.resolve()),
        "duplicates_dropped": run.data.duplicates,
        "near_duplicates": asdict(run.data.near),
        "gene_steps": STEPS,
        **contents,
        **asked,
    }
    with ExitStack() as stack:
        store = stack.enter_context(RunStore.create(path))
        store.begin(facts, run.items)
        begun = Run.stored(store)
        stack.pop_all()
        return begun


def _checked(run: Run, request: ChoiceRequest | None) -> dict[str, Any]:
    """Check a run, and return the facts that follow from its config.

    A run that has begun keeps the models, code and versions of its scores.
    """
    config, models, store = run.config, run.models.by_reference, run.store
    run = with_default_controls(run)
    defaults = {TRAINED: run.config.controls.trained} if run.config.controls != config.controls else {}
    stamps = {name: stamps_of(model) for name, model in models.items()}
    check(run)
    from kingyo.models.loading import require_device  # slow import, so after the quick checks

    require_device(run.config.device)
    known = {} if store is None else known_fingerprints(store, run.models)
    unknown = (model for name, model in models.items() if name not in known)
    fingerprints = {**known, **fingerprints_of(unknown, check_finite=True)}
    check_prompts(run)
    own: dict[str, Any] = {MODELS: fingerprints, STAMPS: stamps}
    own |= provenance_facts(config, run.folder, libraries=libraries_of(run))
    if store is not None:
        require_same_models(store, run.models)
        own |= {key: {**own[key], **store.fact(key)} for key in (MODELS, VERSIONS, CODE, OPENED)}
        own[STAMPS] = {**stamps, **store.fact(STAMPS)}
    return {
        "name": config.name,
        CONFIG: as_fact(config),
        **own,
        LEARNS: run.learns,
        **objectives_as_facts(run.searches[0].objectives),
        NOTES: (*notes(run, fingerprints), *_notes_on_choice(run, request)),
        WARNINGS: warnings(run),
        THREADS: threads_of(run),
        DEFAULT_CONTROLS: defaults,
        POSSIBLE_CONTROLS: possible_controls(run),
        TUNABLE: is_tunable(run),
        LEARNABLE: run.learns or not obstacles(run.config, run.settings, run.kind, run.folder),
    }


def _notes_on_choice(run: Run, request: ChoiceRequest | None) -> Iterator[str]:
    n_fit = len(run.items["fit"])
    if request is not None and n_fit < 2 * ITEMS:
        yield f"with {n_fit} fit items, the choice may take luck for a gain: give at least {2 * ITEMS}"


def make_choice(run: Run, notify: Callable[[Event], None]) -> Run:
    """Choose the sources of a run, or go on with that, and return the run with the chosen ones."""
    store = run.begun
    request = store.fact(REQUEST)
    assert request is not None, "the run chooses its sources"
    stage = ChoiceStage(run=run, request=request)
    choice = stage.make(notify)
    data = with_sources(request.asked, run, choice, stage.layout)
    chosen = replace(Run.open(config_from_data(data, run.folder), run.folder), store=store)
    facts = {CANDIDATES: store.fact(CONFIG), CHOSEN: choice}
    store.reopen({**_checked(chosen, request), **facts}, {})
    return Run.stored(store)


def choose_again(run: Run, store: RunStore, request: ChoiceRequest) -> None:
    """Let a run whose search has not begun go on with its choice of sources, such as with a larger budget."""
    require_same(store)
    store.reopen({**_checked(replace(run, store=store), request), REQUEST: request, CHOSEN: None}, {})


def before_choice(run: Run, store: RunStore) -> dict[str, Any]:
    """Return the facts of a run before it chose its sources; none if the user named them."""
    candidates = store.fact(CANDIDATES)
    if candidates is None:
        return {}
    choosing = Run.open(config_from_data(candidates, run.folder), run.folder)
    facts = _checked(replace(choosing, store=store), store.fact(REQUEST))
    return {**facts, CANDIDATES: None, CHOSEN: None}


def threads_of(run: Run) -> int:
    """Return the threads of a run; by default 1 for a small model, else the cores per worker."""
    if run.config.threads is not None:
        return run.config.threads
    if run.models.skeleton.n_parameters < FEW_PARAMETERS:
        return 1
    return max(1, torch.get_num_threads() // run.config.workers)


# the control that a run has by default: a short training where its items have reference answers

SHARE = 0.25
"""Share of the main search's seconds on fit."""
ENOUGH = 0.5
"""Share of the fit items whose reference answers the graders must accept."""


def is_large(n_parameters: int) -> bool:
    """Return whether a model might fill the memory, or take long, in what nobody asked for."""
    return n_parameters > 10**9 or 16 * n_parameters > memory_size()


def with_default_controls(run: Run) -> Run:
    """Return a run that has not begun with the control ``trained``, if run.yaml leaves that open."""
    controls = run.config.controls
    if controls.trained is not None or not _has_targets(run):
        return run
    changed = controls.model_copy(update={TRAINED: SHARE})
    return run.with_config(run.config.model_copy(update={"controls": changed}))


def _has_targets(run: Run) -> bool:
    size = run.models.skeleton.n_parameters
    if is_large(size):
        return False
    try:
        require_control(TRAINED, run)
        require_teaching(run.task)
        fit = run.items["fit"]
        own = preprocessor_of(run.kind, run.models.skeleton.path)
        examples = examples_of(run.task, own, fit, {}, prefers_given=False)
    except KingyoError:  # the preflight says what is wrong
        return False
    return len({each.item for each in examples}) >= ENOUGH * len(fit)

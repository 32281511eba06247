"""Begin a run: check everything, then create its folder and store its settings, models and items."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

from kingyo import __version__
from kingyo.checkpoints import fingerprints_of, stamps_of
from kingyo.evolution import Event, objectives_as_facts
from kingyo.io.lazy_torch import torch
from kingyo.run.choice import (
    CHOICE,
    CHOSEN,
    ITEMS,
    ChoiceRequest,
    ChoiceStage,
    choice_fact,
    read_request,
    request_fact,
    with_sources,
)
from kingyo.run.config import TRAINED
from kingyo.run.config_file import config_from_data
from kingyo.run.default_controls import with_default_controls
from kingyo.run.extensions import DEFAULT_CONTROLS, TUNABLE
from kingyo.run.learnable import LEARNABLE, LEARNS, obstacles
from kingyo.run.preflight import check, check_prompts, notes
from kingyo.run.prompts import warnings
from kingyo.run.provenance import libraries_of, provenance_facts
from kingyo.run.run import Run
from kingyo.run.searches import possible_controls
from kingyo.run.seed_runs import require_same_setup
from kingyo.run.setup import MODELS, STAMPS, as_fact
from kingyo.run.tune import is_tunable
from kingyo.space import STEPS
from kingyo.store import RunStore

FEW_PARAMETERS = 10_000_000
"""Models with fewer parameters use one thread by default."""


def check_all(run: Run) -> dict[str, str]:
    """Check models, data and settings, except for prompts. This reads each weight once.

    Returns:
        Reference of a model -> fingerprint.
    """
    check(run)
    from kingyo.models.loading import require_device  # slow import, so after the quick checks

    require_device(run.config.device)
    return fingerprints_of(run.models.by_reference.values(), check_finite=True)


def begin(
    run: Run,
    path: Path,
    *,
    seeds: Path | None = None,
    file: Path | None = None,
    request: ChoiceRequest | None = None,
) -> Run:
    """Check a run, create its folder and store what it consists of.

    Args:
        run: opened from a run.yaml; if its sources are chosen first, all candidates are its sources.
        path: the new run folder.
        seeds: folder with the runs of other seeds, if the run is one of several.
        file: the run.yaml; its name is stored.
        request: what the choice of sources is asked for; None if the user named them.

    Returns:
        The run with its store, open for writing.

    Raises:
        KingyoError: models, data or settings are invalid, or the runs of other seeds differ in more than the
            seed; nothing is written then.
    """
    run, contents = _checked(run)
    asked = {} if request is None else {CHOICE: request_fact(request)}
    n_fit = len(run.items["fit"])
    if request is not None and n_fit < 2 * ITEMS:
        few = f"with {n_fit} fit items, the choice may take luck for a gain: give at least {2 * ITEMS}"
        contents["notes"] = [*cast("list[str]", contents["notes"]), few]
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
    store = RunStore.create(path)
    store.begin(facts, run.items)
    return run.begun_in(store)


def _checked(run: Run) -> tuple[Run, dict[str, object]]:
    """Check a run; return it with its default controls, and the facts that follow from its config."""
    config, models = run.config, run.models
    run = with_default_controls(run)
    is_by_default = run.config.controls.trained != config.controls.trained
    stamps = {name: stamps_of(model) for name, model in models.by_reference.items()}
    fingerprints = check_all(run)
    check_prompts(run)
    return run, {
        "name": config.name,
        "config": as_fact(config),
        MODELS: fingerprints,
        **provenance_facts(config, run.folder, libraries=libraries_of(run)),
        "known_paths": run.known_paths,
        LEARNS: run.learns,
        STAMPS: stamps,
        **objectives_as_facts(run.searches[0].objectives),
        "notes": list(notes(run, fingerprints)),
        "warnings": list(warnings(run)),
        "threads": threads_of(run),
        **({DEFAULT_CONTROLS: {TRAINED: run.config.controls.trained}} if is_by_default else {}),
        "possible_controls": list(possible_controls(run)),
        TUNABLE: is_tunable(run, run.task, run.items),
        LEARNABLE: run.learns or not obstacles(run.config, run.settings, run.kind, run.folder),
    }


def make_choice(run: Run, notify: Callable[[Event], None]) -> Run:
    """Choose the sources of a run, or go on with that, and return the run with the chosen ones.

    Raises:
        KingyoError: no source is worth adding, or the run.yaml does not suit the chosen ones.
    """
    store = run.begun
    request = read_request(store)
    assert request is not None, "the run chooses its sources"
    stage = ChoiceStage(run=run, request=request)
    choice = stage.make(notify)
    data = with_sources(request.asked, run, choice, stage.layout)
    chosen = replace(Run.open(config_from_data(data, run.folder), run.folder), store=store)
    _, contents = _checked(chosen)
    store.reopen({**contents, CHOSEN: choice_fact(choice)}, {})
    return Run.stored(store)


def choose_again(run: Run, store: RunStore, request: ChoiceRequest) -> None:
    """Let a run whose search has not begun go on with its choice of sources, such as with a larger budget."""
    _, contents = _checked(replace(run, store=store))
    store.reopen({**contents, CHOICE: request_fact(request), CHOSEN: None}, {})


def threads_of(run: Run) -> int:
    """Return the threads of a run; by default 1 for a small model, else the cores per worker."""
    if run.config.threads is not None:
        return run.config.threads
    if run.models.skeleton.n_parameters < FEW_PARAMETERS:
        return 1
    return max(1, torch.get_num_threads() // run.config.workers)

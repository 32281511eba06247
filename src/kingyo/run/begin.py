"""How a run begins: everything is checked first, then its folder is made and holds all that it is made of."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

from kingyo import __version__
from kingyo.checkpoints import fingerprints_of, stamps_of
from kingyo.evolution import objectives_as_facts
from kingyo.io.lazy_torch import torch
from kingyo.run.notes import notes
from kingyo.run.preflight import check, check_prompts
from kingyo.run.run import Run
from kingyo.run.scoring_code import libraries_of, provenance_facts
from kingyo.run.searches import possible_controls
from kingyo.run.seed_runs import require_same_setup
from kingyo.run.stored_config import MODELS, STAMPS, as_fact
from kingyo.space import STEPS
from kingyo.store import RunStore

FEW_PARAMETERS = 10_000_000
"""Models of fewer parameters compute with one thread, unless the run.yaml says otherwise."""


def check_all(run: Run) -> dict[str, str]:
    """Check everything that can be known before a search but prompts; each weight is read once.

    Returns:
        Reference of each model -> its fingerprint.

    Raises:
        KingyoError: whatever is wrong with models, data or settings.
    """
    check(run)
    from kingyo.models.loading import require_device  # after slips of the pen are answered: it takes seconds

    require_device(run.config.device)
    return fingerprints_of(run.models.by_reference.values(), check_finite=True)


def begin(run: Run, path: Path, *, seeds: Path | None = None, file: Path | None = None) -> Run:
    """Check a run, then make its folder and store all that it is made of.

    Args:
        run: opened from a run.yaml.
        path: the run folder to make.
        seeds: the folder of the runs of other seeds, if it is to stand beside them.
        file: the run.yaml itself, in the folder; its name is stored.

    Returns:
        The run with its store, which is open for writing.

    Raises:
        KingyoError: whatever is wrong with models, data or settings, or the runs of other seeds differ in
            more than the seed; nothing has been written then.
    """
    config, folder, models = run.config, run.folder, run.models
    stamps = {name: stamps_of(each) for name, each in models.by_reference.items()}
    fingerprints = check_all(run)
    check_prompts(run)
    made_of = {
        "config": as_fact(config),
        MODELS: fingerprints,
        **provenance_facts(config, folder, libraries=libraries_of(run)),
        "known_paths": run.known_paths,
    }
    if seeds is not None:
        require_same_setup(seeds, {**made_of, "items": run.items})
    facts = {
        "name": config.name,
        "version": __version__,
        "created": time.time(),
        "status": "running",
        "folder": str(folder.resolve()),
        **({} if file is None else {"run_yaml": file.name}),
        "folder_from_run": os.path.relpath(folder.resolve(), path.resolve()),
        **made_of,
        STAMPS: stamps,
        "duplicates_dropped": run.data.duplicates,
        "near_duplicates": asdict(run.data.near),
        **objectives_as_facts(run.searches[0].objectives),
        "notes": list(notes(run, fingerprints)),
        "threads": config.threads or _threads(run),
        "gene_steps": STEPS,
        "possible_controls": list(possible_controls(run)),
    }
    store = RunStore.create(path)
    store.begin(facts, run.items)
    return run.begun_in(store)


def _threads(run: Run) -> int:
    """One for a tiny model: a second gains nothing, and waits for long where another job has the core.

    Workers share the cores.
    """
    if run.models.skeleton.n_parameters < FEW_PARAMETERS:
        return 1
    return max(1, torch.get_num_threads() // run.config.workers)

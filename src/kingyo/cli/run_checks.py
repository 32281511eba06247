"""Checks of a run folder before a command uses it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.errors import KingyoError
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.store import RunStore

IDENTITY = ("name", "base", "sources", "task", "tasks")
"""Keys of a run.yaml that identify a run; the other keys may have been edited since."""


def require_one_run(run: Path, command: str, *arguments: str) -> None:
    """Refuse the folder of several seeds, because each of them is a run.

    Args:
        run: the folder.
        command: the command of kingyo, for the error message.
        arguments: its arguments after the folder.

    Raises:
        KingyoError: the folder holds several seeds.
    """
    from kingyo.run.seed_runs import seed_folders

    seeds = seed_folders(run)
    if seeds:
        line = shlex.join(("kingyo", command, str(next(iter(seeds.values()))), *arguments))
        every = ", or continue all of them with the original `kingyo evolve --seeds` command"
        raise KingyoError(
            str(run),
            expected="the folder of one run",
            received=f"the runs of {counted(len(seeds), 'seed')}",
            remedy=f"Name one of them, such as `{line}`{every if command == 'resume' else ''}.",
        )


def require_own_database(store: RunStore) -> None:
    """Refuse a run.db that was copied into the folder of another run.

    A copy of a project folder passes, because its run.yaml is the same.

    Raises:
        KingyoError: the run.yaml next to the run belongs to another run.
    """
    from kingyo.run.config_file import load_config
    from kingyo.run.setup import as_fact, stored_config
    from kingyo.store import DATABASE

    name, way = store.fact("run_yaml"), store.fact("folder_from_run")
    config, folder = stored_config(store)
    if not isinstance(name, str) or not isinstance(way, str):
        return
    own, here = folder / name, (store.folder / way).resolve() / name
    if own.resolve() == here or not here.is_file():
        return
    try:
        stored, current = as_fact(config), as_fact(load_config(here))
    except KingyoError:  # a genome file, or a file that cannot be read
        return
    changed = [key for key in IDENTITY if stored.get(key) != current.get(key)]
    if changed:
        line = shlex.join(("kingyo", "evolve", str(here), "--run", "NEW"))
        raise KingyoError(
            str(store.folder / DATABASE),
            expected=f"the run of {here}",
            received=f"the run of {own}, with another {', '.join(changed)}",
            remedy=f"Restore the right run.db, or begin a new run with `{line}`.",
        )


def run_yaml_changes(store: RunStore) -> str | None:
    """Describe how the run.yaml of a run has changed since the run began.

    Returns:
        A note for the user; None if nothing has changed, or the file is unknown or gone.
    """
    from kingyo.io.yaml import read_yaml
    from kingyo.run.config_file import load_config
    from kingyo.run.mergekit_evolve import is_genome_file
    from kingyo.run.setup import as_fact, stored_config

    name = store.fact("run_yaml")
    config, folder = stored_config(store)
    path = folder / str(name)
    if not isinstance(name, str) or not path.is_file():
        return None
    intro = f"{path} has changed since the run began; the run continues with its stored copy"
    try:
        if is_genome_file(read_yaml(path)):
            return None
        current = as_fact(load_config(path))
    except KingyoError:
        return f"{intro}. The file cannot be read now."
    stored = as_fact(config)
    keys = {*current, *stored} - {"seed", "name"}
    changed = sorted(key for key in keys if current.get(key) != stored.get(key))
    if not changed:
        return None
    return (
        f"{intro}. Changed: {', '.join(changed)}. Only the budget can be extended, with flags such as "
        "--candidates +60; other changes need a new run."
    )

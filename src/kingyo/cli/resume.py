"""`kingyo resume`, also with more of the budget or other versions: what flags mean, which run.yaml holds."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.store import RunStore

MADE_OF = ("name", "base", "sources", "task", "tasks")
"""A run.yaml that differs in one of these keys is of another run; the others may have been edited since."""
SIGNED = re.compile(r"\+([0-9]+)")
SIGNED_REAL = re.compile(r"\+([0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


def amounts(given: Mapping[str, str | None]) -> dict[str, float]:
    """Read what is to be added to each key of a budget: "+60".

    Args:
        given: key of the budget -> what the user wrote; None where nothing.

    Raises:
        KingyoError: no plus sign, not above 0, no number.
    """
    return {key: _amount(key, text) for key, text in given.items() if text is not None}


def _amount(key: str, text: str) -> float:
    flag, is_whole = f"--{key.replace('_', '-')}", key != "minutes"
    found = (SIGNED if is_whole else SIGNED_REAL).fullmatch(text)
    if found is not None and float(found[1]) > 0:
        return int(found[1]) if is_whole else float(found[1])
    unsigned = (SIGNED if is_whole else SIGNED_REAL).fullmatch(f"+{text}")
    is_missing_sign = unsigned is not None and float(unsigned[1]) > 0
    raise KingyoError(
        flag,
        expected=f"a plus sign and {'a whole number' if is_whole else 'a number'} above 0: how many more",
        received=f"'{text}'",
        remedy=f"Did you mean {flag} +{text}?" if is_missing_sign else f"For example {flag} +60.",
    )


def require_one_way(*, rescore: bool, accept_changes: bool) -> None:
    """Refuse --rescore together with --accept-changes."""
    if rescore and accept_changes:
        raise KingyoError(
            "--rescore",
            expected="one of --rescore and --accept-changes",
            received="both",
            remedy="Leave --accept-changes out: --rescore leaves no scores of other versions.",
        )


def renew(store: RunStore, *, rescore: bool, accept_changes: bool) -> None:
    """Do what a flag says about changed code or versions, and print it. Without a flag refuse changes.

    Raises:
        KingyoError: something has changed and no flag is given, or a flag cannot be followed. The run stays
            as it was.
    """
    from kingyo.run import resume

    with redirect_stdout(sys.stderr):
        if rescore:
            echo(f"Note: {resume.rescore(store)}")
        elif accept_changes:
            accepted = resume.accept(store)
            echo(f"Note: {accepted or 'Nothing has changed since the scores of this run were made.'}")
        else:
            resume.require_unchanged(store)


def require_one_run(run: Path, command: str, *more: str) -> None:
    """Refuse the folder of several seeds: each of them is a run.

    Args:
        run: the folder.
        command, more: of kingyo, as the user gave them, before the folder and after it.

    Raises:
        KingyoError: it is one.
    """
    from kingyo.run.seed_runs import seed_folders

    seeds = seed_folders(run)
    if seeds:
        words = shlex.join(("kingyo", command, str(next(iter(seeds.values()))), *more))
        every = "; or go on with all of them by the `kingyo evolve --seeds` command that began them"
        raise KingyoError(
            str(run),
            expected="the folder of one run",
            received=f"the runs of {counted(len(seeds), 'seed')}",
            remedy=f"Name one of them, such as `{words}`{every if command == 'resume' else ''}.",
        )


def require_own_database(store: RunStore) -> None:
    """Refuse a run.db that was copied into the folder of another run.

    A copy of a whole project is fine: its run.yaml is the same.

    Raises:
        KingyoError: the run.yaml beside it is of another run.
    """
    from kingyo.run.config_file import load_config
    from kingyo.run.stored_config import as_fact, stored_config
    from kingyo.store import DATABASE

    name, way = store.fact("run_yaml"), store.fact("folder_from_run")
    config, folder = stored_config(store)
    if not isinstance(name, str) or not isinstance(way, str):
        return
    own, here = folder / name, (store.folder / way).resolve() / name
    if own.resolve() == here or not here.is_file():
        return
    try:
        before, now = as_fact(config), as_fact(load_config(here))
    except KingyoError:  # a genome file, or one that cannot be read
        return
    changed = [key for key in MADE_OF if before.get(key) != now.get(key)]
    if changed:
        words = shlex.join(("kingyo", "evolve", str(here), "--run", "NEW"))
        raise KingyoError(
            str(store.folder / DATABASE),
            expected=f"the run of {here}",
            received=f"that of {own}, with another {', '.join(changed)}",
            remedy=f"Put the right run.db back, or begin a new run by `{words}`.",
        )


def differences(store: RunStore) -> str | None:
    """Say in what the run.yaml that a run began with differs from what it stores; None where it does not.

    None too where the file is not known, or is gone.
    """
    from kingyo.io.yaml import read_yaml
    from kingyo.run.config_file import load_config
    from kingyo.run.mergekit_evolve import is_genome_file
    from kingyo.run.stored_config import as_fact, stored_config

    name = store.fact("run_yaml")
    config, folder = stored_config(store)
    path = folder / str(name)
    if not isinstance(name, str) or not path.is_file():
        return None
    own = f"The run goes on with the run.yaml that it began with and stores. {path} has changed since"
    try:
        if is_genome_file(read_yaml(path)):
            return None
        now = as_fact(load_config(path))
    except KingyoError:
        return f"{own}, and cannot be read."
    before = as_fact(config)
    changed = sorted(key for key in {*now, *before} - {"seed", "name"} if now.get(key) != before.get(key))
    remedy = "Of a run only the budget can grow, by flags such as --candidates +60; the rest needs a new run."
    return f"{own}: {', '.join(changed)}. {remedy}" if changed else None

"""The commands that continue a run: ``resume``, ``control`` and ``tune``."""

import re
import shlex
from pathlib import Path
from typing import Annotated

from kingyo.cli.options import Between, as_flags
from kingyo.cli.run import continued, note_edited_file
from kingyo.cli.show import show
from kingyo.errors import KingyoError

AMOUNT = re.compile(r"\+([0-9]{1,15}(?:\.[0-9]{1,15})?)")


def resume(
    run: Path,
    *,
    candidates: str | None = None,
    item_evaluations: str | None = None,
    minutes: str | None = None,
    rescore: bool = False,
    accept_changes: bool = False,
    as_json: bool = False,
) -> None:
    """Resume an interrupted run, or extend the budget of a run.

    The winner is the same as without the interruption.

    With a larger budget, the search continues where it ended, then its controls,
    and the winner is picked again. If test was read before, the results state
    that it was read twice.

    If kingyo, a library or your own code has changed since the scores were
    computed, resume stops. Use --rescore to score everything again, or
    --accept-changes to keep the old scores.

    Example: `kingyo resume runs/first`, `kingyo resume runs/first --candidates +60`

    Args:
        candidates (+N): try N more candidates, even if the run has finished.
        item_evaluations (+N): grade N more answers in the search.
        minutes (+M): search M more minutes.
        rescore: score all candidates again with the current code and versions. The old scores are saved in
            a file.
        accept_changes: continue with changed code or versions. show, report and the model card state it.
    """
    from kingyo.api.runs import resume

    options = {"candidates": candidates, "item_evaluations": item_evaluations, "minutes": minutes}
    more = {key: _amount(key, text) for key, text in options.items() if text is not None}
    with (
        as_flags("rescore", *(f"more: {key}" for key in more)),
        continued(run, quiet=as_json) as (own, display),
    ):
        note_edited_file(run)
        resume(own, more=more, rescore=rescore, accept_changes=accept_changes, progress=display)
    show(run, as_json=as_json)


def control(run: Path, name: str, *, as_json: bool = False) -> None:
    """Add a control to a finished run: a search of the same cost to compare the winner with.

    `trained` trains a LoRA on the fit items for as long as the search took; it
    needs the extra `lora`. The other controls have the same trials as if they
    had been enabled in the run.yaml. Rerun the command to resume
    after an interruption.

    Example: `kingyo control runs/first random`

    Args:
        name (CONTROL): random, grid, or trained (a LoRA trained on fit).
    """
    from kingyo.api.runs import control

    with continued(run, quiet=as_json) as (own, display):
        control(own, name, progress=display)
    show(run, as_json=as_json)


def tune(
    run: Path,
    *,
    keep: Path | None = None,
    limit: Annotated[float | None, Between(0, 100)] = None,
    as_json: bool = False,
) -> None:
    """Train a LoRA on the bred model of a finished run, with right answers to the fit items.

    Validation chooses between the bred model, which wins ties, and LoRAs of
    different learning rates; test is read once for the choice. The same
    training on the best parent shows what breeding was worth. It needs the
    extra `lora`. Rerun the command to resume after an interruption.

    Example: `kingyo tune runs/first --keep general.yaml`

    Args:
        keep (FILE): a task file, or items of the run's task, that the tuned model must still solve.
        limit: with --keep: a model that loses more points there is not chosen. Default: 2.
    """
    from kingyo.api.runs import tune

    command = shlex.join(("kingyo", "tune", str(run)))
    with as_flags("keep"), continued(run, quiet=as_json, command=command) as (own, display):
        tune(own, keep=keep, limit=limit, progress=display)
    show(run, as_json=as_json)


def _amount(key: str, text: str) -> float:
    match = AMOUNT.fullmatch(text)
    if match is not None:
        return float(match[1]) if "." in text else int(match[1])
    flag = f"--{key.replace('_', '-')}"
    raise KingyoError(flag, "a plus sign and a number", f"'{text}'", f"For example, use {flag} +60.")

"""Controls that a run got after it began; the fact ``controls`` lists them."""

from __future__ import annotations

import shlex
from typing import cast

from kingyo.evolution import MAIN
from kingyo.run.config import RunConfig
from kingyo.store import RunStore


def asked_controls(store: RunStore) -> tuple[str, ...]:
    """Return the controls that were requested after the run began."""
    return tuple(cast("list[str]", store.fact("controls") or []))


def with_asked_controls(config: RunConfig, store: RunStore) -> RunConfig:
    """Return the config of a run with its later controls switched on."""
    asked = dict.fromkeys(asked_controls(store), True)
    return config.model_copy(update={"controls": config.controls.model_copy(update=asked)})


def missing_controls(store: RunStore) -> tuple[str, ...]:
    """Return the controls that a finished run can still get."""
    if store.status() != "finished":
        return ()
    possible = cast("list[str]", store.fact("possible_controls") or [])
    return tuple(name for name in possible if name not in store.searches())


def control_command(folder: str, control: str) -> str:
    """Return the command that runs a control of a finished run."""
    return f"kingyo control {shlex.quote(folder)} {control}"


def undo_control(store: RunStore) -> None:
    """Drop a requested control that has not begun, and mark the run as finished again."""
    controls, begun = asked_controls(store), store.searches()
    kept = [name for name in controls if name in begun]
    if len(kept) < len(controls) and store.winner(MAIN) is not None:
        store.reopen({"controls": kept, "status": "finished"}, {})

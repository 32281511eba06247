"""Extend the budget of a run, and undo an extension that brought nothing."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import cast

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES, MAIN, Limits
from kingyo.evolution.budget import BudgetSpent
from kingyo.io.units import amount_text, counted
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.run.config_sections import Budget
from kingyo.run.extensions import FACT, Amounts, Extension, extended_limits, limits_of, read_extensions
from kingyo.run.settings import RunSettings
from kingyo.screens import Screen, ScreenSettings
from kingyo.store import RunStore, StoredTrial

MAX_FACTOR = 100
"""An extension of more than this times the budget is refused as a typing error."""


def extend(store: RunStore, settings: RunSettings, more: Amounts) -> None:
    """Add to the budget of a run and delete its winners, not their scores; nothing is run yet.

    If weights and paths are searched in turn, the path search gets the full addition.

    Args:
        store: the run, open for writing.
        settings: settings of the run.
        more: amounts above 0.

    Raises:
        KingyoError: the run has no such budget, no further candidate would fit, or the addition is more than
            a hundred times the budget; nothing is changed then.
    """
    budget = (settings.then or settings.first).budget
    before = read_extensions(store)
    for key, value in more.items():
        _require_key(store, budget, key)
        total = float(getattr(budget, key)) + sum(extension.more.get(key, 0) for extension in before)
        _require_plausible(key, value, total)
    limits = extended_limits(limits_of(budget), [*(extension.more for extension in before), more])
    _require_room(store, limits)
    names = [name for name in store.searches() if name not in (BASELINES, WEIGHT_SEARCH)]
    winners = {name: winner.id for name in names if (winner := store.winner(name)) is not None}
    extension = Extension(
        at=time.time(),
        more=more,
        trials=len(_trials(store)),
        winners=winners,
        test_was_read=bool(store.summaries("test")),
        status=str(store.fact("status")),
    )
    facts = {FACT: [asdict(each) for each in (*before, extension)], "status": "running"}
    store.reopen(facts, dict.fromkeys(winners))


def undo_if_unused(store: RunStore) -> None:
    """Undo the last extension if the run finished without another trial.

    Raises:
        KingyoError: it did; the run is as before the extension then.
    """
    *before, unused = read_extensions(store) or [None]
    if store.status() != "finished" or unused is None or len(_trials(store)) > unused.trials:
        return
    if unused.status == "finished":
        undo_extension(store)
    else:  # the run was stopped before, and has finished since
        store.set_fact(FACT, [asdict(extension) for extension in before if extension])
    raise KingyoError(
        f"search '{MAIN}'",
        expected=f"a search with more to try, for {unused}",
        received=f"one that ended by itself after {counted(unused.trials, 'candidate')}: all tried, "
        "or converged",
        remedy="Start a new run with wider ranges, another strategy or another seed; nothing was added.",
    )


def undo_extension(store: RunStore) -> Extension | None:
    """Undo the last extension if it brought no trial; return it, or None."""
    extensions = read_extensions(store)
    if not extensions or len(_trials(store)) > extensions[-1].trials:
        return None
    *before, last = extensions
    store.reopen({FACT: [asdict(extension) for extension in before], "status": last.status}, last.winners)
    return last


def _trials(store: RunStore) -> list[StoredTrial]:
    return store.trials(MAIN) if MAIN in store.searches() else []


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _require_key(store: RunStore, budget: Budget, key: str) -> None:
    """Refuse a key that the budget of the run does not limit."""
    keys = list(budget.model_dump(exclude_none=True))
    if key not in keys:
        raise KingyoError(
            _flag(key),
            expected=f"more of the run's own budget, which limits {' and '.join(keys).replace('_', ' ')}",
            received=f"{key.replace('_', ' ')}, which it does not limit",
            remedy=f"Use {' or '.join(map(_flag, keys))}. `kingyo show {store.folder}` shows the run.",
        )


def _require_plausible(key: str, amount: float, total: float) -> None:
    """Refuse an amount that must be a typing error: only its budget ends such a search."""
    if amount > MAX_FACTOR * total:
        raise KingyoError(
            _flag(key),
            expected=f"at most {MAX_FACTOR} times the budget so far, which is {amount_text(key, total)}",
            received=f"+{amount_text(key, amount)}",
            remedy="Extend the run in several steps.",
        )


def _require_room(store: RunStore, limits: Limits) -> None:
    """Refuse limits that allow no further candidate."""
    description = store.searches().get(MAIN)
    if description is None:
        return
    spent = _spent(store)
    screen = ScreenSettings(items=cast("dict[str, int | None]", description.get("screen") or {}).get("items"))
    n_items = Screen(screen, 0).most_items(len(store.items()["fit"]))
    limit = limits.seconds or 0
    bounds = {
        "candidates": (Limits(candidates=limits.candidates), f"{spent.trials} of {limits.candidates}"),
        "item_evaluations": (
            Limits(item_evaluations=limits.item_evaluations),
            f"{spent.items} of {limits.item_evaluations}, and the next candidate takes up to {n_items}",
        ),
        "minutes": (Limits(seconds=limits.seconds), f"{spent.seconds / 60:.3g} of {limit / 60:.3g}"),
    }
    for key, (bound, used) in bounds.items():
        if spent.room(bound, 1, n_items) < 1:
            raise KingyoError(
                _flag(key),
                expected="enough for one more candidate, of every limit of the budget",
                received=f"a limit of {key.replace('_', ' ')} that is used up even then: {used}",
                remedy=f"Use {_flag(key)} +N with a larger N.",
            )


def _spent(store: RunStore) -> BudgetSpent:
    costs = store.costs(MAIN, "fit").values()
    return BudgetSpent(
        trials=len(store.trials(MAIN)),
        items=sum(items for items, _ in costs),
        seconds=sum(seconds for _, seconds in costs),
    )

"""From a run to an ordinary Hugging Face folder: the winner, merged again by the plan that was measured.

The folder is complete in itself: weights, tokenizer, recipe, model card, and the task with its items, so that
whoever has it can score it again. It appears whole or not at all.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from kingyo.assembly import require_code, stored_config, stored_models, user_code
from kingyo.errors import KingyoError
from kingyo.evolve import MAIN, read_front
from kingyo.evolve.recipes import read_recipe
from kingyo.export.card import Card, render_card
from kingyo.export.origins import read_origins
from kingyo.export.task_files import write_tasks
from kingyo.merge import Sources, plan, rooted, to_folder
from kingyo.recipe import Recipe
from kingyo.store import RunStore, StoredTrial
from kingyo.summary import read_entry, summarize

__all__ = ["export", "picked", "recipe_of"]


def export(store: RunStore, out: Path, trial: int | None = None, *, share_layers: bool = False) -> Path:
    """Write a bred model as a Hugging Face folder that transformers loads.

    Args:
        store: the run; only read.
        out: the folder to make; it must not exist, or be empty.
        trial: number of a trial of the main search; the winner when None.
        share_layers: write layers that a path passes several times once; see ``kingyo.merge.shared``.

    Returns:
        ``out``.

    Raises:
        KingyoError: no winner yet, no such trial, a model or a file of the user's own that has moved or
            changed, or ``out`` is taken or cannot be written. Whatever is raised, ``out`` is as it was.
    """
    chosen = _choose(store, trial)
    _require_room(out)
    config, folder = stored_config(store)
    require_code(store, user_code(config, folder))
    models = stored_models(store, config, folder)
    recipe = read_recipe(chosen)
    planned = plan(recipe, Sources(models.by_reference, folder), share_layers=share_layers)
    origins = read_origins(recipe, models, folder)
    measured = store.evaluation(chosen.id, "fit")
    card = Card(
        title=out.resolve().name,
        chosen=read_entry(store, "bred", chosen),
        summary=summarize(store),
        search=store.searches()[MAIN],
        recipe=recipe,
        origins=origins,
        config=config,
        version=str(store.fact("version")),
        example=store.items()["fit"][0].prompt,
        failure=None if measured is None else measured.failure,
        shared=planned.shared,
    )
    files = {
        **write_tasks(config.specs, folder, store.items()),
        "recipe.yaml": rooted(recipe, folder).to_yaml(),
        "README.md": render_card(card).encode(errors="backslashreplace"),  # a folder's name may be no UTF-8
    }
    return to_folder(planned, out, files=files)


def _require_room(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise KingyoError(
            str(out),
            expected="a new or empty folder",
            received="one with files",
            remedy="Choose another folder.",
        )


def recipe_of(store: RunStore, trial: int | None = None) -> Recipe:
    """Return the recipe of a trial, the winner's when None, with whole paths of local models.

    Raises:
        KingyoError: no winner yet, or no such trial.
    """
    _, folder = stored_config(store)
    return rooted(read_recipe(_choose(store, trial)), folder)


def picked(store: RunStore, pick: str, trial: int | None = None) -> int:
    """Return the number of a trial on the front of a run with several objectives.

    Args:
        store: the run.
        pick: ``knee``, or a number.
        trial: what else was asked for; there must not be anything.

    Raises:
        KingyoError: two wishes, a run without a front, or a trial that is not on it.
    """
    front = read_front(store, MAIN)
    numbers = [point.trial.asked.number for point in front.points]
    remedy = f"`kingyo show {shlex.quote(str(store.folder))}` prints the front."
    if trial is not None:
        raise KingyoError("--pick", expected="--pick or --trial", received="both", remedy="Leave one out.")
    if front.knee is None:
        remedy = "Leave --pick out to export the winner, or name a trial with --trial."
        received = "one without: it has one objective, or no trial that succeeded"
        raise KingyoError("--pick", expected="a run with a front", received=received, remedy=remedy)
    if pick == "knee":
        return front.knee.trial.asked.number
    if not pick.isdecimal() or int(pick) not in numbers:
        expected = f"knee, or one of the trials {', '.join(str(number) for number in numbers)}"
        raise KingyoError("--pick", expected=expected, received=repr(pick), remedy=remedy)
    return int(pick)


def _choose(store: RunStore, number: int | None) -> StoredTrial:
    if number is not None:
        trials = {each.asked.number: each for each in store.trials(MAIN)}
        if number not in trials:
            resume = f"Go on with `kingyo resume {shlex.quote(str(store.folder))}` first."
            remedy = "Leave --trial out to export the winner." if trials else resume
            known = (
                f"a number from 0 to {max(trials)}"
                if trials
                else "a trial of the main search, which has none yet"
            )
            raise KingyoError("--trial", expected=known, received=str(number), remedy=remedy)
        return trials[number]
    winner = store.winner(MAIN)
    if winner is None:
        resume = f"kingyo resume {shlex.quote(str(store.folder))}"
        raise KingyoError(
            str(store.folder),
            expected="a run whose winner is picked",
            received=f"one that is {store.status()}, without a winner yet",
            remedy=f"Go on with `{resume}`, or name a trial with --trial.",
        )
    return winner

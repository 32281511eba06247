"""Export a model of a run as a Hugging Face folder.

The folder has weights, tokenizer, recipe, model card, and the task with its items, so that the model can be
scored again. It is written atomically.
"""

import json
import shlex
from dataclasses import replace
from pathlib import Path

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.export.card import ADAPTER, BRED_RECIPE, Card, images_of, render_card
from kingyo.export.task_files import write_tasks
from kingyo.merging.checkpoints.adapter import CONFIG, WEIGHTS
from kingyo.merging.checkpoints.locate import whole_pipeline
from kingyo.merging.checkpoints.single_file_layout import check_single_file
from kingyo.merging.engine import MergeOptions, plan, rooted, to_folder
from kingyo.merging.lineage import Origin, describe
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import InPipeline
from kingyo.runs.adapters import Training, adapter_folder, read_training
from kingyo.runs.config import TRAININGS, TUNED
from kingyo.runs.model_kind import task_options
from kingyo.runs.provenance import other_versions, require_same
from kingyo.runs.run import Run
from kingyo.runs.setup import stored_config
from kingyo.search.evolution import BASELINES, MAIN, read_front
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore, StoredTrial
from kingyo.views.cards import contact_sheet
from kingyo.views.results.model_result import compare_on_test, read_model_result
from kingyo.views.results.summary import summarize
from kingyo.views.results.trials import describe_search, describe_trial, failure_of, find_trial, reference_to
from kingyo.views.results.tuning import origin_of

__all__ = ["choose", "export", "recipe_of"]


def export(
    store: RunStore,
    out: Path,
    chosen: StoredTrial | None = None,
    *,
    pipeline: bool = True,
    single_file: bool = False,
) -> Path:
    """Write a model of a run as a folder that transformers or diffusers loads."""
    chosen = choose(store) if chosen is None else chosen
    failure = failure_of(store, chosen)
    if failure is not None:
        run, name = shlex.quote(str(store.folder)), reference_to(chosen)
        received = f"{describe_trial(chosen)}, which failed: {failure}"
        remedy = f"Name another trial; `kingyo recipe {run} --trial {name}` prints the recipe."
        raise KingyoError("trial", "a trial that could be scored", received, remedy)
    if out.is_dir() and any(out.iterdir()):
        raise KingyoError(str(out), "a new or empty folder", "a folder with files", "Choose another folder.")
    require_same(store, only_code=True)
    run = Run.stored(store)
    sources = run.open_sources()
    planned = plan(read_recipe(chosen), sources)
    is_part, around = planned.like.pipeline is not None, None
    if pipeline and is_part:
        around = whole_pipeline(planned.like, run.folder, allow_pickle=run.config.allow_pickle)
    if single_file:
        check_single_file(planned.like, around or {})
    part = planned.like.path.name if is_part and around is None else None
    card = _card(store, run, chosen, out, planned.recipe)
    files = _files(replace(card, part=part), out) | _adapter_files(store.folder, card, out)
    if around is not None and isinstance(run.kind, InPipeline):
        files |= run.kind.pipeline_files(planned.like.path, task_options(run.config, run.folder))
    return to_folder(planned, out, files, MergeOptions(single_file=single_file), around=around)


def _card(store: RunStore, run: Run, chosen: StoredTrial, out: Path, recipe: Recipe) -> Card:
    summary, entry = summarize(store), read_model_result(store, "this model", chosen)
    training = read_training(store, chosen.search) if chosen.search in TRAININGS else None
    bred = training.start if training is not None and chosen.search == TUNED else None
    made_of = recipe if bred is None else read_recipe(store.trial(bred))
    sheet = contact_sheet(store, summary)
    return Card(
        title=out.resolve().name,
        chosen=entry,
        comparisons=compare_on_test(store, entry, [each for each in summary.models if each.trial != chosen]),
        run=run,
        summary=summary,
        searches=store.searches(),
        version=str(store.fact("version")),
        recipe=recipe,
        made_of=made_of,
        training=training,
        origins=_origins(made_of, run, training),
        versions=other_versions(store, "exported"),
        has_learned_weights=origin_of(store, chosen) != "plain",
        sheet=sheet,
        images=images_of(sheet),
    )


def _adapter_files(run: Path, card: Card, out: Path) -> dict[str, str | bytes]:
    if card.training is None:
        return {}
    trial = card.chosen.trial
    adapter = adapter_folder(run, trial.search, card.training.number_of(trial.asked.number))
    config = {**json.loads((adapter / CONFIG).read_text(encoding="utf-8")), "base_model_name_or_path": None}
    recipe = rooted(card.made_of, card.run.folder, out=out)
    return {
        f"{ADAPTER}/{CONFIG}": json.dumps(config, indent=2),
        f"{ADAPTER}/{WEIGHTS}": (adapter / WEIGHTS).read_bytes(),
        **({BRED_RECIPE: recipe.to_yaml()} if trial.search == TUNED else {}),
    }


def _files(card: Card, out: Path) -> dict[str, str | bytes]:
    return {
        **write_tasks(card.run.config.specs, card.run.folder, out, card.run.items),
        "recipe.yaml": rooted(card.recipe, card.run.folder, out=out).to_yaml(),
        "README.md": render_card(card).encode(errors="backslashreplace"),  # a folder's name may be no UTF-8
        **card.images,
    }


def _origins(recipe: Recipe, run: Run, training: Training | None) -> tuple[Origin, ...]:
    base = run.models.base
    named = {**({} if base is None else {"base": base}), **run.models.sources}
    names = {checkpoint.reference: name for name, checkpoint in named.items()}
    parent = None if training is None else training.parent
    origin_names = (names.get(reference, parent) for reference in recipe.references)
    return tuple(describe(name, named[name], run.folder) for name in origin_names if name is not None)


def recipe_of(store: RunStore, chosen: StoredTrial) -> Recipe:
    """Return the recipe of a trial, with local models as absolute paths."""
    _, folder = stored_config(store)
    return rooted(read_recipe(chosen), folder)


def choose(
    store: RunStore, *, trial: str | None = None, search: str | None = None, pick: str | None = None
) -> StoredTrial:
    """Return the trial to export: by default the best of the run, or the winner if there is none."""
    options = {"trial": trial, "search": search, "pick": pick}
    given = [option for option, value in options.items() if value is not None]
    if len(given) > 1:
        raise KingyoError(given[0], f"one of {', '.join(options)}", " and ".join(given), "Use one of them.")
    if trial is not None:
        return find_trial(store, trial)
    store.require_no_scout()
    if search is not None:
        return _winner(store, search)
    if pick is not None:
        return _picked(store, pick)
    best = summarize(store).best
    return _winner(store, MAIN) if best is None else best.trial


def _winner(store: RunStore, search: str) -> StoredTrial:
    searches, folder = (
        [name for name in store.searches() if name != BASELINES],
        shlex.quote(str(store.folder)),
    )
    if search not in (MAIN, *searches):
        raise unknown_name_error("search", search, searches)
    winner = store.winner(search)
    if winner is None:
        expected = f"a run with a winner of {describe_search(search)}"
        remedy = "Name another search, or a trial."
        if store.status() != "finished":
            remedy = f"Continue with `kingyo resume {folder}`, or name a trial."
        raise KingyoError(str(store.folder), expected, f"a run that is {store.status()}, without one", remedy)
    if search not in TRAININGS:
        return winner
    # validation may have chosen the model without training: the bred one, or a parent
    others = (trial for name in (MAIN, BASELINES) for trial in store.trials(name))
    return next((each for each in others if each.recipe_hash == winner.recipe_hash), winner)


def _picked(store: RunStore, pick: str) -> StoredTrial:
    front = read_front(store, MAIN)
    trials = {str(point.trial.asked.number): point.trial for point in front.points}
    if front.knee is not None and pick == "knee":
        return front.knee.trial
    if pick not in trials:
        expected = f"knee, or one of the trials {', '.join(trials)}" if trials else "a run with a front"
        remedy = f"`kingyo show {shlex.quote(str(store.folder))}` prints the front."
        raise KingyoError("pick", expected, repr(pick), remedy)
    return trials[pick]

"""Commands on a recipe: print it, a path as mergekit's slices or slices as a path."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.run import TRIALS
from kingyo.cli.terminal import echo

if TYPE_CHECKING:
    from kingyo.recipe import RecipeBook


class LayerForm(StrEnum):
    """How layers are listed."""

    path = "path"
    slices = "slices"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(recipe)


def recipe(
    file: Annotated[
        Path, typer.Argument(metavar="RECIPE.yaml|RUN", help="A recipe, or the folder of a run.")
    ],
    form: Annotated[
        LayerForm | None,
        typer.Option(
            "--as",
            help="slices: write paths as mergekit reads them; path: write slices that merge nothing so.",
        ),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial",
            metavar="TRIAL",
            help=f"Of a run: {TRIALS}.  \\[default: the best of the run, as `kingyo export` writes it]",
        ),
    ] = None,
) -> None:
    """Print a recipe, or that of a run's best model, as YAML that `kingyo merge` reads.

    Example: `kingyo recipe runs/first > recipe.yaml`
    """
    from kingyo.recipe import rewritten

    book = _read(file, trial)
    if form is not None:
        book = rewritten(book, form.value)
    echo(book.to_yaml(), nl=False)


def _read(file: Path, trial: str | None) -> RecipeBook:
    from kingyo.errors import KingyoError
    from kingyo.recipe import NamedRecipe, RecipeBook, load_recipes

    if not file.is_dir():
        if trial is not None:
            raise KingyoError(
                "--trial", expected="the folder of a run", received=str(file), remedy="Leave it out."
            )
        return load_recipes(file)
    from kingyo.cli.advice import tell_lost
    from kingyo.export import choose, recipe_of
    from kingyo.store import RunStore

    with RunStore.read(file) as store:
        tell_lost(store)
        recipe = recipe_of(store, choose(store, trial=trial))
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=recipe),))

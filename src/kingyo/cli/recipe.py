"""The command ``recipe``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.options import TRIALS
from kingyo.cli.terminal import echo

if TYPE_CHECKING:
    from kingyo.recipe import RecipeBook


class LayerForm(StrEnum):
    """How the layers of a recipe are written."""

    path = "path"
    slices = "slices"


def recipe(
    file: Annotated[Path, typer.Argument(metavar="RECIPE.yaml|RUN", help="A recipe file or a run folder.")],
    form: Annotated[
        LayerForm | None,
        typer.Option(
            "--as",
            help="slices: write layer paths as slices of mergekit. path: write one-source slices as a path.",
        ),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial",
            metavar="TRIAL",
            help=f"Trial of the run: {TRIALS}.  \\[default: the best model, as in `kingyo export`]",
        ),
    ] = None,
) -> None:
    """Print a recipe, or the recipe of the best model of a run, as YAML for `kingyo merge`.

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
                "--trial", expected="a run folder", received=str(file), remedy="Leave --trial out."
            )
        return load_recipes(file)
    from kingyo.cli.advice import warn_lost
    from kingyo.export import choose, recipe_of
    from kingyo.store import RunStore

    with RunStore.read(file) as store:
        warn_lost(store)
        recipe = recipe_of(store, choose(store, trial=trial))
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=recipe),))

"""Commands on a recipe: merge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(merge)


def merge(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="A recipe, as mergekit writes them.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="For random methods; overrides the recipe's.")
    ] = None,
) -> None:
    """Merge models by a recipe, files to files.

    Example: `kingyo merge recipe.yaml merged`
    """
    from dataclasses import replace

    from kingyo.merge import open_sources, plan, rooted, to_folder
    from kingyo.recipe import load_recipe

    loaded = load_recipe(recipe)
    if seed is not None:
        loaded = replace(loaded, seed=seed)
    planned = plan(loaded, open_sources(loaded, recipe.parent))
    written = to_folder(planned, out, files={"recipe.yaml": rooted(loaded, recipe.parent).to_yaml()})
    typer.echo(f"Wrote {written}: {len(planned.jobs)} tensors by {loaded.merge_method}.")

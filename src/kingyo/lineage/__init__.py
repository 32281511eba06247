"""Read the cards and licences of the models in a merge, and write the merged model's card."""

from kingyo.lineage.card import (
    INHERITED,
    base_models,
    describe_path,
    front_matter,
    models_section,
    recipe_section,
    render,
)
from kingyo.lineage.licences import check_licences, front_licence, strictest
from kingyo.lineage.markdown import bullets, cell, fence, table
from kingyo.lineage.origins import Origin, describe, public_name, public_recipe, read_front_matter

__all__ = [
    "INHERITED",
    "Origin",
    "base_models",
    "bullets",
    "cell",
    "check_licences",
    "describe",
    "describe_path",
    "fence",
    "front_licence",
    "front_matter",
    "models_section",
    "public_name",
    "public_recipe",
    "read_front_matter",
    "recipe_section",
    "render",
    "strictest",
    "table",
]

"""Read the cards and licences of the models in a merge, and write the merged model's card."""

from kingyo.lineage.card import (
    INHERITED,
    bullets,
    cell,
    describe_path,
    fence,
    front_matter,
    models_section,
    recipe_section,
    render,
    table,
)
from kingyo.lineage.origins import Origin, check_licences, describe, public_name, public_recipe

__all__ = [
    "INHERITED",
    "Origin",
    "bullets",
    "cell",
    "check_licences",
    "describe",
    "describe_path",
    "fence",
    "front_matter",
    "models_section",
    "public_name",
    "public_recipe",
    "recipe_section",
    "render",
    "table",
]

"""Read the cards and licences of the models in a merge, and write parts of the merged model's card."""

from kingyo.lineage.licences import check_licences, front_licence, strictest
from kingyo.lineage.markdown import bullets, cell, fence, table
from kingyo.lineage.origins import Origin, describe, public_name, public_recipe, read_front_matter
from kingyo.lineage.sections import base_models, models_section, passed

__all__ = [
    "Origin",
    "base_models",
    "bullets",
    "cell",
    "check_licences",
    "describe",
    "fence",
    "front_licence",
    "models_section",
    "passed",
    "public_name",
    "public_recipe",
    "read_front_matter",
    "strictest",
    "table",
]

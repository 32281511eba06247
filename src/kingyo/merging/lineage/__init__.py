"""Read the cards and licences of the models in a merge, and write the merged model's card."""

from kingyo.merging.lineage.card import INHERITED as INHERITED
from kingyo.merging.lineage.card import bullets as bullets
from kingyo.merging.lineage.card import cell as cell
from kingyo.merging.lineage.card import describe_path as describe_path
from kingyo.merging.lineage.card import fence as fence
from kingyo.merging.lineage.card import front_matter as front_matter
from kingyo.merging.lineage.card import models_section as models_section
from kingyo.merging.lineage.card import recipe_section as recipe_section
from kingyo.merging.lineage.card import render as render
from kingyo.merging.lineage.card import table as table
from kingyo.merging.lineage.origins import Origin as Origin
from kingyo.merging.lineage.origins import check_licences as check_licences
from kingyo.merging.lineage.origins import describe as describe
from kingyo.merging.lineage.origins import public_name as public_name
from kingyo.merging.lineage.origins import public_recipe as public_recipe

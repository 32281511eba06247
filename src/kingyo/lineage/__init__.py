"""Read the cards and licences of the models in a merge, and write the merged model's card."""

from kingyo.lineage.card import INHERITED as INHERITED
from kingyo.lineage.card import bullets as bullets
from kingyo.lineage.card import cell as cell
from kingyo.lineage.card import describe_path as describe_path
from kingyo.lineage.card import fence as fence
from kingyo.lineage.card import front_matter as front_matter
from kingyo.lineage.card import models_section as models_section
from kingyo.lineage.card import recipe_section as recipe_section
from kingyo.lineage.card import render as render
from kingyo.lineage.card import table as table
from kingyo.lineage.origins import Origin as Origin
from kingyo.lineage.origins import check_licences as check_licences
from kingyo.lineage.origins import describe as describe
from kingyo.lineage.origins import public_name as public_name
from kingyo.lineage.origins import public_recipe as public_recipe

"""List the models in folders and on the Hub, and tell which can be merged together."""

from kingyo.scout.candidate import Candidate, Exclusion
from kingyo.scout.catalogue import Catalogue, Group, catalogue, with_structures
from kingyo.scout.places import find_places
from kingyo.scout.structure import MemberStructure, Structure

__all__ = [
    "Candidate",
    "Catalogue",
    "Exclusion",
    "Group",
    "MemberStructure",
    "Structure",
    "catalogue",
    "find_places",
    "with_structures",
]

"""List the models in folders, lists and queries of the Hub, and tell which can be merged together."""

from kingyo.scout.candidate import Candidate, Exclusion
from kingyo.scout.catalogue import Catalogue, Group, catalogue
from kingyo.scout.places import find_places
from kingyo.scout.verdict import Rules

__all__ = ["Candidate", "Catalogue", "Exclusion", "Group", "Rules", "catalogue", "find_places"]

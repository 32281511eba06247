"""The frame of a choice of sources: the candidate whose other parts, such as its vision, all merges have."""

from __future__ import annotations

from kingyo.errors import unknown
from kingyo.scout.catalogue import Group
from kingyo.scout.choice import ChosenSources, names_of


def frame_named(group: Group, wanted: str, argument: str) -> str:
    """Return the name of the model that a user names as the frame; a candidate also has a reference.

    Raises:
        KingyoError: it is neither the base nor a candidate of the group.
    """
    names = {"base": "base", **names_of([each.reference for each in group.members])}
    found = [name for name, reference in names.items() if wanted in (name, reference.rstrip("/"))]
    if not found:
        raise unknown(argument, wanted, names)
    return found[0]


def sources_of_run(choice: ChosenSources) -> tuple[str, ...]:
    """Return the sources that a run of a choice names: the chosen ones, and the frame."""
    frame = () if choice.frame is None or choice.frame in choice.chosen else (choice.frame,)
    return (*choice.chosen, *frame)

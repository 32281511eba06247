"""Groups of names as filters: few, short parts of names that mergekit's recipes can hold.

It knows nothing of models: names are words with dots between them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

_ANY = "\N{BULLET}"  # stands for the number of an expert
_LATER_NUMBERS = re.compile(r"(?<=[.])[0-9]+(?=[.])")
_MANY = 8


def shortest_filters(groups: Mapping[str, tuple[str, ...]]) -> list[tuple[str | None, str]]:
    """Cover each group by few, short parts of names.

    Returns:
        Part of a name, group: the first part that a name holds is its group's. None matches every name.
    """
    few = _without_experts(groups)
    if few is not None:
        found = list(_cover(few))
        if all(part is None or _ANY not in part for part, _ in found) and _is_right(found, groups):
            return found
    return list(_cover(groups))


def _without_experts(groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]] | None:
    """The same groups with one name for all experts of a block; None without long lists within blocks.

    Thousands of experts would take minutes, and their numbers make no good filters.
    """
    forms = {name: _form(name) for names in groups.values() for name in names}
    sizes = Counter(forms.values())
    owners: dict[str, set[str]] = {}
    for group, names in groups.items():
        for name in names:
            owners.setdefault(forms[name], set()).add(group)
    many = {form for form, size in sizes.items() if size >= _MANY and len(owners[form]) == 1}
    if not many:
        return None
    return {
        group: tuple(dict.fromkeys(forms[name] if forms[name] in many else name for name in names))
        for group, names in groups.items()
    }


def _form(name: str) -> str:
    """A name without its numbers, but the first."""
    first = _LATER_NUMBERS.search(name)
    if first is None:
        return name
    return name[: first.end()] + _LATER_NUMBERS.sub(_ANY, name[first.end() :])


def _is_right(found: list[tuple[str | None, str]], groups: Mapping[str, tuple[str, ...]]) -> bool:
    def resolve(name: str) -> str:
        return next(group for part, group in found if part is None or part in name)

    return all(resolve(name) == group for group, names in groups.items() for name in names)


def _cover(groups: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str | None, str]]:
    """Cover each group by parts that match nothing of the groups still to come."""
    owner = {name: group for group, names in groups.items() for name in names}
    left = set(owner)
    for group in groups:
        if all(owner[name] == group for name in left):
            yield None, group
            return
        foreign = [name for name, its in owner.items() if its != group]
        while open_ := [name for name in groups[group] if name in left]:
            later = [name for name in foreign if name in left]
            best = next((part for part in _best_parts(open_) if _is_sound(part, later, foreign)), open_[0])
            longer = [name for name in later if best in name]
            if longer:  # a name within a longer name: that one goes first, by its whole name
                best = max(longer, key=len)
            yield best, owner[next(name for name in left if best in name)]
            left = {name for name in left if best not in name}


def _is_sound(part: str, later: list[str], foreign: list[str]) -> bool:
    """A part with a number may match what earlier filters took; one without must be its group's alone."""
    numbered = any(word.isdigit() for word in part.split("."))
    return not any(part in name for name in (later if numbered else foreign))


def _best_parts(names: list[str]) -> list[str]:
    """Parts of names that may stand in a filter: those that match most names first, short before long."""
    parts = {part for name in names for part in _parts(name)}
    return sorted(parts, key=lambda part: (-sum(part in name for name in names), len(part), part))


def _parts(name: str) -> Iterator[str]:
    """Whole words of a name; a number only behind its list's name, and closed by a dot."""
    words = name.split(".")
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            part = ".".join(words[start:end])
            dotted = f".{part}" if start else part
            closed = "." if end < len(words) else ""
            if words[end - 1].isdigit():
                if end - start > 1 and not words[start].isdigit():
                    yield from (f"{part}{closed}", f"{dotted}{closed}")
            elif not words[start].isdigit():
                yield from (part, dotted, f"{part}{closed}", f"{dotted}{closed}")
    yield name

"""Express groups of tensor names as mergekit filters: few and short substrings of dotted names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

_ANY = "\N{BULLET}"  # placeholder for the number of an expert
_LATER_NUMBERS = re.compile(r"(?<=[.])[0-9]+(?=[.])")
_MANY = 8


def shortest_filters(groups: Mapping[str, tuple[str, ...]]) -> list[tuple[str | None, str]]:
    """Cover each group by few, short filters.

    Returns:
        Pairs of filter and group. A name belongs to the group of the first filter that is a substring of it;
        None matches every name.
    """
    reduced = _without_experts(groups)
    if reduced is not None:
        filters = list(_cover(reduced))
        if all(part is None or _ANY not in part for part, _ in filters) and _is_right(filters, groups):
            return filters
    return list(_cover(groups))


def _without_experts(groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]] | None:
    """Return the groups with one name for all experts of a block; None without long lists within blocks.

    This avoids minutes of computing for thousands of experts, and filters with numbers of experts.
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
    first = _LATER_NUMBERS.search(name)
    if first is None:
        return name
    return name[: first.end()] + _LATER_NUMBERS.sub(_ANY, name[first.end() :])


def _is_right(filters: list[tuple[str | None, str]], groups: Mapping[str, tuple[str, ...]]) -> bool:
    def resolve(name: str) -> str:
        return next(group for part, group in filters if part is None or part in name)

    return all(resolve(name) == group for group, names in groups.items() for name in names)


def _cover(groups: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str | None, str]]:
    """Yield filters for each group that match no name of the groups after it."""
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
            if longer:  # the filter is a substring of other names: these come first, by their full names
                best = max(longer, key=len)
            yield best, owner[next(name for name in left if best in name)]
            left = {name for name in left if best not in name}


def _is_sound(part: str, later: list[str], foreign: list[str]) -> bool:
    """Return whether a part is a valid filter: without a number it must match only names of its group."""
    numbered = any(word.isdigit() for word in part.split("."))
    return not any(part in name for name in (later if numbered else foreign))


def _best_parts(names: list[str]) -> list[str]:
    """Return candidates for a filter: those that match most names first, short before long."""
    parts = {part for name in names for part in _parts(name)}
    return sorted(parts, key=lambda part: (-sum(part in name for name in names), len(part), part))


def _parts(name: str) -> Iterator[str]:
    """Yield runs of complete words of a name; numbers only after their list's name, and ending in a dot."""
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

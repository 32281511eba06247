"""Classify licences by what they require of a merge. This is no legal advice.

Licences are the Hub's identifiers, as stated in model cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kingyo.lineage.origins import Origin
from kingyo.vocabulary import Diagnostic

UNKNOWN = "not stated in its card"

_KINDS = (
    ("no derivatives", re.compile(r"cc-by(-nc)?-nd\b.*|.*no-?deriv.*")),
    ("non-commercial", re.compile(r"cc-by-nc\b.*|.*non-?commercial.*|.*research.*|apple-amlr|cdla-.*nc.*")),
    ("share-alike", re.compile(r"cc-by-sa\b.*|a?gpl\b.*|odbl|gfdl|eupl.*|osl.*|cc-by-nc-sa\b.*")),
    ("terms of its own", re.compile(r".*rail.*|llama.*|gemma.*|.*community.*")),
    ("file by file", re.compile(r"mpl.*|epl.*|lgpl.*|ms-pl|cddl.*")),
    (
        "notice",
        re.compile(r"apache.*|cc-by\b.*|bsd.*|mit.*|isc|afl.*|bsl.*|ecl.*|zlib|artistic.*|odc-by|ncsa"),
    ),
    ("none", re.compile(r"cc0.*|unlicense|wtfpl|pddl")),
)
"""Kinds of licences, the strictest first; the first match decides."""


def kind_of(licence: str | None) -> str | None:
    """Return the kind of a licence; None if it is unknown or not stated."""
    stated = (licence or "unknown").strip().lower()
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(stated)), None)


def strictest(origins: Sequence[Origin]) -> tuple[str, ...]:
    """Return the strictest of the known licences; several if they are of the same kind."""
    order = [kind for kind, _ in _KINDS]
    ranked = [(order.index(kind), licence) for licence in _stated(origins) if (kind := kind_of(licence))]
    best = min((rank for rank, _ in ranked), default=None)
    return tuple(dict.fromkeys(licence for rank, licence in ranked if rank == best))


def front_licence(origins: Sequence[Origin]) -> dict[str, object]:
    """Return the licence for the front matter of a card: the common one, else ``other``."""
    licences = {licence for origin in origins for _, licence in origin.licences}
    if len(licences) > 1:
        return {"license": "other", "license_name": "those-of-the-merged-models"}
    licence, named = origins[0].licence, origins[0].licence_name
    if licence == "other":
        return {"license": "other", "license_name": named or "those-of-the-merged-models"}
    return {"license": licence or "unknown"}


def check_licences(origins: Sequence[Origin], *, is_allowed: bool = False) -> Iterator[Diagnostic]:
    """Yield findings on licences that forbid merges, conflict, or are unknown.

    Args:
        origins: the merged models.
        is_allowed: whether the user takes responsibility; then a forbidden merge is only a warning.
    """
    stated = dict.fromkeys(pair for origin in origins for pair in origin.licences)
    kinds = {name: kind_of(licence) for name, licence in stated}
    for name, licence in stated:
        if kinds[name] == "no derivatives":
            yield _forbidden(name, str(licence), is_allowed=is_allowed)
        elif licence is not None and kinds[name] is None:
            yield _unknown(name, licence)
    silent = [name for name, licence in stated if licence is None]
    if silent:
        yield _unknown(", ".join(silent), UNKNOWN)
    yield from _mixed(stated, "non-commercial", "Do not use the merge commercially.")
    yield from _mixed(
        {pair: None for pair in stated if kind_of(pair[1]) in ("share-alike", "non-commercial")},
        "share-alike",
        "Share-alike requires its own licence for the merge: check whether both can apply.",
    )
    own = dict.fromkeys(licence for _, licence in stated if kind_of(licence) == "terms of its own")
    if len(own) > 1:
        yield Diagnostic(
            level="warning",
            argument="licences",
            expected="one set of terms",
            received=" and ".join(str(each) for each in own),
            remedy="All of them apply to the merge: check that they allow your use.",
        )


def _stated(origins: Sequence[Origin]) -> Iterator[str]:
    for origin in origins:
        yield from (licence for _, licence in origin.licences if licence is not None)


def _mixed(stated: dict[tuple[str, str | None], None], kind: str, remedy: str) -> Iterator[Diagnostic]:
    """Yield a warning if licences of a kind are mixed with others."""
    strict = [pair for pair in stated if kind_of(pair[1]) == kind]
    others = [pair for pair in stated if pair[1] not in {licence for _, licence in strict}]
    if strict and others:
        (one, first), (other, second) = strict[0], others[0]
        yield Diagnostic(
            level="warning",
            argument="licences",
            expected="licences with the same terms",
            received=f"{first} of {one} and {second or 'none stated'} of {other}",
            remedy=remedy,
        )


def _forbidden(name: str, licence: str, *, is_allowed: bool) -> Diagnostic:
    remedy = "Leave the model out, ask its authors, or use --ignore-licences and do not share the result."
    return Diagnostic(
        level="warning" if is_allowed else "error",
        argument=f"the licence of {name}",
        expected="a licence that allows derivatives",
        received=licence,
        remedy="Do not share the result." if is_allowed else remedy,
    )


def _unknown(name: str, licence: str) -> Diagnostic:
    return Diagnostic(
        level="note",
        argument=f"the licence of {name}",
        expected="a known licence",
        received=licence,
        remedy="Read the authors' terms before you share the result.",
    )

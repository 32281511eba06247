"""Where each tensor sits in a model, inferred from the names of its tensors alone.

There is no table of architectures: blocks are the longest numbered list among the names, kinds follow from
the words of a name. It reads no file and no weight.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from kingyo.errors import KingyoError, unknown
from kingyo.recipe import Conditional

Kind = Literal["attention", "mlp", "norm", "embedding", "head", "other"]
KINDS: tuple[Kind, ...] = ("embedding", "attention", "mlp", "norm", "head", "other")

_ATTENTION = re.compile(r"attn|attention")
_MLP = re.compile(r"mlp|ffn|feed_?forward|moe|expert|dense_?relu|^fc\d?$|^w[123]$|^(gate|up|down)_proj$")
_NORM = re.compile(r"norm|^ln(_|\d|$)")
_EMBEDDING = re.compile(r"emb|^w[tp]e$")
_HEAD = re.compile(r"head|embed_out|^output$|^score$|classifier")


class Layout:
    """The structure of a model.

    Args:
        names: the names of its tensors.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._stack = _main_stack(self.names)
        self._block = {name: self._find_block(name) for name in self.names}
        self._kind: dict[str, Kind] = {name: _find_kind(name, self._block[name]) for name in self.names}
        indices = sorted({block for block in self._block.values() if block is not None})
        self._place = {block: place for place, block in enumerate(indices)}
        self._groups: dict[str, dict[str, tuple[str, ...]]] = {}
        self._filters: dict[str, tuple[tuple[str | None, str], ...]] = {}

    @property
    def n_blocks(self) -> int:
        """How many blocks (layers) the main stack has."""
        return len(self._place)

    def block(self, name: str) -> int | None:
        """The index of a tensor's block, or None outside the main stack."""
        return self._block[name]

    def kind(self, name: str) -> Kind:
        """What a tensor is part of."""
        return self._kind[name]

    def depth(self, name: str) -> float:
        """Where a tensor sits, from 0 (embeddings, first block) to 1 (last block, final norm, head)."""
        block = self._block[name]
        if block is None:
            return 1.0 if self._is_after(name) else 0.0
        return self._place[block] / max(1, self.n_blocks - 1)

    def groups(self, how: str) -> Mapping[str, tuple[str, ...]]:
        """Split the tensors into named groups; every tensor is in exactly one.

        Args:
            how: ``one`` group; by ``kind``; by ``block``; ``block+kind`` (attention and mlp of each block,
                norms with the mlp); or ``layers:N``, N spans of blocks, embeddings with the first and head
                with the last. By block, tensors before the blocks are ``embedding``, those after ``head``.

        Raises:
            KingyoError: an unknown way, or more spans than blocks.
        """
        if how not in self._groups:
            found: dict[str, list[str]] = {}
            for name in sorted(self.names, key=self._order):
                found.setdefault(self._group(name, how), []).append(name)
            self._groups[how] = {group: tuple(names) for group, names in found.items()}
        return self._groups[how]

    def conditionals(self, how: str, values: Mapping[str, float]) -> tuple[Conditional, ...]:
        """Express one value per group as filters on names, the first match of which is the tensor's group's.

        Raises:
            KingyoError: the groups of ``values`` are not those of ``how``.
        """
        groups = self.groups(how)
        if values.keys() != groups.keys():
            received = ", ".join(sorted(values.keys() ^ groups.keys()))
            raise KingyoError(
                "groups",
                expected=f"a value for each of {', '.join(groups)}",
                received=received,
                remedy="Give each of these groups one value, and no others.",
            )
        if how not in self._filters:
            self._filters[how] = tuple(_shortest_filters(groups))
        return tuple(
            Conditional(filter=filter_, value=values[group]) for filter_, group in self._filters[how]
        )

    def _find_block(self, name: str) -> int | None:
        found = _numbered(name)
        return found[1] if found is not None and found[0] == self._stack else None

    def _is_after(self, name: str) -> bool:
        return self._kind[name] in ("head", "norm")

    def _order(self, name: str) -> tuple[int, int, bool, str]:
        """From input to output; in a block attention comes first."""
        block = self._block[name]
        if block is not None:
            return 1, self._place[block], self._kind[name] != "attention", name
        return (2 if self._is_after(name) else 0), 0, False, name

    def _group(self, name: str, how: str) -> str:
        spans = re.fullmatch(r"layers:([1-9]\d*)", how)
        if how == "one":
            return "all"
        if how == "kind":
            return self._kind[name]
        if spans is not None:
            return self._span(name, int(spans[1]))
        if how not in ("block", "block+kind"):
            raise unknown("groups", how, ("one", "kind", "block", "block+kind", "layers:N"))
        block = self._block[name]
        if block is None:
            return "head" if self._is_after(name) else "embedding"
        if how == "block":
            return f"block.{block}"
        return f"block.{block}.{'attention' if self._kind[name] == 'attention' else 'mlp'}"

    def _span(self, name: str, spans: int) -> str:
        if spans > max(1, self.n_blocks):
            raise KingyoError(
                "groups",
                expected=f"at most layers:{self.n_blocks}, the number of blocks",
                received=f"layers:{spans}",
                remedy="Set merge.groups to block, or to fewer spans.",
            )
        block = self._block[name]
        if block is None:
            return f"layers.{spans - 1 if self._is_after(name) else 0}"
        return f"layers.{self._place[block] * spans // self.n_blocks}"


def _numbered(name: str) -> tuple[str, int] | None:
    """The first numbered list in a name: what comes before the number, and the number."""
    found = re.match(r"(.*?)\.(\d+)\.", name)
    return (found[1], int(found[2])) if found else None


def _main_stack(names: Iterable[str]) -> str | None:
    """The numbered list that holds the most tensors; of equals the first by name."""
    counts = Counter(found[0] for name in names if (found := _numbered(name)) is not None)
    return min(counts, key=lambda stack: (-counts[stack], stack)) if counts else None


def _find_kind(name: str, block: int | None) -> Kind:
    modules = [part.lower() for part in name.split(".") if part not in ("weight", "bias")]
    if block is None:
        return _outer_kind(modules)
    parents, leaf = modules[:-1], modules[-1]
    if any(_ATTENTION.search(parent) for parent in parents):
        return "attention"
    if any(_MLP.search(parent) for parent in parents):
        return "mlp"
    if _NORM.search(leaf):
        return "norm"
    if _ATTENTION.search(leaf):
        return "attention"
    return "mlp" if _MLP.search(leaf) else "other"


def _outer_kind(modules: list[str]) -> Kind:
    if any(_HEAD.search(module) for module in modules):
        return "head"
    if any(_EMBEDDING.search(module) for module in modules):
        return "embedding"
    return "norm" if modules and _NORM.search(modules[-1]) else "other"


def _shortest_filters(groups: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str | None, str]]:
    """Cover each group by few, short parts of names that match nothing of the groups still to come."""
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

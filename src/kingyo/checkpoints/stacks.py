"""Stacks of blocks: the numbered lists among a model's tensor names that are its layers.

``model.layers.3.mlp.up_proj.weight`` sits in block 3 of the stack ``model.layers``. Lists of experts lie
within a block and small lists (a projector of two layers) hold no blocks: neither is a stack. A block without
a number, as the one in the middle of a UNet, is a stack of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.checkpoints.roles import find_kind
from kingyo.errors import KingyoError

_NUMBERED = re.compile(r"(.*?)\.([0-9]{1,9})\.(.*)", re.DOTALL)
_LAYERS = re.compile(r"(layers?|blocks?|stages?|groups)$|^h$", re.IGNORECASE)
_FIRST, _LAST = re.compile(r"(^|[._])(down|input|encoder)"), re.compile(r"(^|[._])(up|output|decoder)")
_LONE = re.compile(r"((?:.*?\.)?mid(?:dle)?_?block)\.(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """One list of blocks, through which data flow one after another.

    Attributes:
        name: what it is called among the model's stacks: its part's name, else what sets its names apart.
        prefix: what comes before a block's number in tensor names.
        part: the part of the model that it belongs to; see ``Layout.parts``.
        blocks: the tensors of each block, by its number; in order.
    """

    name: str
    prefix: str
    part: str
    blocks: Mapping[int, tuple[str, ...]]

    @property
    def is_numbered(self) -> bool:
        """Whether its blocks have numbers; a lone middle block has none."""
        return _LONE.fullmatch(f"{self.prefix}.") is None

    def rest(self, name: str) -> str:
        """What follows the block's number in a tensor's name."""
        rest = name[len(self.prefix) + 1 :]
        return rest.partition(".")[2] if self.is_numbered else rest

    @property
    def first_only(self) -> frozenset[str]:
        """What the first block has beside all that the others have, by what follows the block's number.

        It is the whole stack's, such as T5's positions: the first block must stay the first.
        """
        own, *others = ({self.rest(name) for name in names} for names in self.blocks.values())
        shared = set[str]().union(*others)
        return frozenset(own - shared) if others and shared <= own else frozenset()

    def check_order(self, chosen: Sequence[int]) -> None:
        """Check that blocks may follow one another in this order.

        Args:
            chosen: numbers of blocks, in their new order.

        Raises:
            KingyoError: the first block holds what is the whole stack's, and is not the first, or not alone.
        """
        if self.first_only and [place for place, number in enumerate(chosen) if number == 0] != [0]:
            raise KingyoError(
                f"layers of {self.prefix}",
                expected=f"layer 0 first and once: it holds {min(self.first_only)} for all of them",
                received=", ".join(str(number) for number in chosen)[:200],
                remedy="Begin the slices with layer 0, and leave it out of the others.",
            )

    @property
    def n_tensors(self) -> int:
        """How many tensors its blocks hold."""
        return sum(len(names) for names in self.blocks.values())


def find_stacks(names: Iterable[str]) -> list[Stack]:
    """Find the stacks; names and parts are still empty."""
    lists: dict[str, dict[int, list[tuple[str, str]]]] = {}
    for name in names:
        if (found := _place(name)) is not None:
            prefix, number, rest = found
            lists.setdefault(prefix, {}).setdefault(number, []).append((name, rest))
    sizes = {prefix: sum(len(block) for block in found.values()) for prefix, found in lists.items()}
    largest = min(sizes, key=lambda prefix: (-sizes[prefix], prefix), default=None)
    chosen = [prefix for prefix, blocks in lists.items() if _is_stack(prefix, blocks.values())]
    chosen = chosen or [prefix for prefix in lists if prefix == largest]
    return [_stack(prefix, lists[prefix]) for prefix in sorted(chosen)]


def name_stacks(stacks: Iterable[Stack]) -> list[Stack]:
    """Give each stack of a model a name of its own; parts are known."""
    found = list(stacks)
    by_part: dict[str, list[Stack]] = {}
    for stack in found:
        by_part.setdefault(stack.part, []).append(stack)
    named: list[Stack] = []
    for stack in found:
        others = by_part[stack.part]
        if len(others) == 1:
            named.append(replace(stack, name=stack.part))
            continue
        own = _apart(stack.prefix, [each.prefix for each in others])
        whole = own if len(by_part) == 1 or own.startswith(stack.part) else f"{stack.part}.{own}"
        named.append(replace(stack, name=whole))
    return named


def stack_rank(stack: Stack) -> int:
    """Where a stack comes among those of its part, as far as words tell: down, middle, up."""
    if _FIRST.search(stack.prefix):
        return 0
    return 2 if _LAST.search(stack.prefix) else 1


def _place(name: str) -> tuple[str, int, str] | None:
    """The first list that a name is in: what comes before the block's number, the number, what follows."""
    found = _NUMBERED.match(name)
    lone = _LONE.match(name)
    if lone is not None and (found is None or found[1].startswith(f"{lone[1]}.")):
        return lone[1], 0, lone[2]
    return (found[1], int(found[2]), found[3]) if found is not None else None


def _is_stack(prefix: str, blocks: Iterable[list[tuple[str, str]]]) -> bool:
    rests = {rest for block in blocks for _, rest in block}
    if not any("." in rest for rest in rests):
        return False
    return bool(_LAYERS.search(prefix.rpartition(".")[2])) or any(
        find_kind(rest, in_block=True) in ("attention", "mlp") for rest in rests
    )


def _stack(prefix: str, blocks: Mapping[int, list[tuple[str, str]]]) -> Stack:
    ordered = {number: tuple(name for name, _ in blocks[number]) for number in sorted(blocks)}
    return Stack(name="", prefix=prefix, part="", blocks=ordered)


def _apart(prefix: str, prefixes: list[str]) -> str:
    """What sets a prefix apart from others: without the words that all of them begin and end with."""
    split = [each.split(".") for each in prefixes]
    shortest = min(len(words) for words in split)
    lead = next((i for i in range(shortest) if len({words[i] for words in split}) > 1), shortest)
    tail = next((i for i in range(shortest - lead) if len({words[-1 - i] for words in split}) > 1), 0)
    words = prefix.split(".")
    return ".".join(words[lead : len(words) - tail]) or prefix

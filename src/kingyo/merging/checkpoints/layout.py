"""Infer where each tensor sits in a model, from tensor names and the config; which tensors are tied."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from kingyo.errors import KingyoError, suggest, unknown_name_error
from kingyo.merging.checkpoints.configs import TEXTS, complete
from kingyo.merging.checkpoints.groups import DENOISER_GROUPS, denoiser_groups, shortest_filters
from kingyo.merging.checkpoints.header import TensorInfo, map_bytes
from kingyo.merging.checkpoints.stacks import (
    Kind,
    Stack,
    find_kind,
    find_parts,
    find_stacks,
    is_after,
    is_output,
    is_vocabulary,
    name_stacks,
    rank,
    stack_rank,
)
from kingyo.merging.recipe import BASE, MERGE, Conditional


class Layout:
    """The structure of a model, from the names of its tensors and its ``config.json``.

    Attributes:
        stacks: its stacks of blocks, from input to output.
        main: the stack whose blocks count as the model's layers: the language model's, else the largest; None
            without any numbered list.
        parts: its parts and their tensors, from input to output: ``language``, ``vision``, ``audio``,
            ``projector``; ``encoder``, ``decoder``, ``shared``; ``unet``; ``model``; ``other``.
    """

    def __init__(self, names: Iterable[str], config: Mapping[str, object] | None = None) -> None:
        self.names = tuple(names)
        self._config = config or {}
        unnamed = find_stacks(self.names)
        inside = {name for stack in unnamed for names in stack.blocks.values() for name in names}
        outer = [name for name in self.names if name not in inside]
        stacks, outer_parts = find_parts(unnamed, outer, self._config)
        self.stacks = tuple(
            sorted(name_stacks(stacks), key=lambda each: (rank(each.part), each.part, *_inner_order(each)))
        )
        self.main = min(  # ties go to the first name
            self.stacks,
            key=lambda each: (each.part != "language", -sum(map(len, each.blocks.values())), each.prefix),
            default=None,
        )
        self._where = {
            name: (stack, number, place)
            for stack in self.stacks
            for place, (number, names) in enumerate(stack.blocks.items())
            for name in names
        }
        self._kind: dict[str, Kind] = {}
        for name in self.names:
            stack = self.stack(name)
            rest = "" if stack is None else stack.rest(name)
            self._kind[name] = find_kind(rest if "." in rest else name, in_block=stack is not None)
        self._after = {name for name in outer if is_after(name)}
        part = {**outer_parts, **{name: where[0].part for name, where in self._where.items()}}
        self.parts: Mapping[str, tuple[str, ...]] = {
            key: tuple(name for name in self.names if part[name] == key)
            for key in sorted(set(part.values()), key=lambda key: (rank(key), key))
        }
        self._part = part
        self._groups: dict[str, dict[str, tuple[str, ...]]] = {}
        self._filters: dict[str, tuple[tuple[str | None, str], ...]] = {}

    @property
    def n_blocks(self) -> int:
        return 0 if self.main is None else len(self.main.blocks)

    def stack(self, name: str) -> Stack | None:
        where = self._where.get(name)
        return None if where is None else where[0]

    def block(self, name: str) -> int | None:
        where = self._where.get(name)
        return None if where is None else where[1]

    def kind(self, name: str) -> Kind:
        return self._kind[name]

    def part(self, name: str) -> str:
        return self._part[name]

    def depth(self, name: str) -> float:
        """Return the relative depth of a tensor: 0 (embeddings, first block) to 1 (last block, head)."""
        where = self._where.get(name)
        if where is None:
            return 1.0 if name in self._after else 0.0
        stack, _, place = where
        return place / max(1, len(stack.blocks) - 1)

    def groups(self, how: str) -> Mapping[str, tuple[str, ...]]:
        """Split the tensors into named groups; every tensor is in exactly one.

        ``how``: ``one`` group; by ``kind``; by ``block``; ``block+kind`` (attention and mlp of each block,
        norms with the mlp); each ``tensor``; or ``layers:N``, N spans of blocks, embeddings with the first,
        head with the last. By block, tensors before the blocks are ``embedding``, those after ``head``. With
        several stacks or parts, names begin with theirs. Denoisers also have ``DENOISER_GROUPS``.
        """
        if how not in self._groups:
            groups: dict[str, list[str]] = {}
            if how in DENOISER_GROUPS:
                groups = denoiser_groups(how, self.names, self.stacks, self._config)
            for name in sorted(self.names, key=self._order) if not groups else ():
                groups.setdefault(self._group(name, how), []).append(name)
            self._groups[how] = {group: tuple(names) for group, names in groups.items()}
        return self._groups[how]

    def conditionals(self, how: str, values: Mapping[str, float]) -> tuple[Conditional, ...]:
        """Express one value per group as filters on names; the first that matches a tensor counts."""
        if how not in self._filters:
            groups = self.groups(how)
            self._filters[how] = tuple(shortest_filters(groups))
        return tuple(Conditional(filter=each, value=values[group]) for each, group in self._filters[how])

    def _order(self, name: str) -> tuple[int, str, int, tuple[int, str], int, bool, str]:
        part = self._part[name]
        where = self._where.get(name)
        if where is None:
            return rank(part), part, (2 if name in self._after else 0), (0, ""), 0, False, name
        stack, _, place = where
        return rank(part), part, 1, _inner_order(stack), place, self._kind[name] != "attention", name

    def _group(self, name: str, how: str) -> str:
        spans = re.fullmatch(r"layers:([1-9][0-9]{0,8})", how)
        if how in ("one", "tensor"):
            return "all" if how == "one" else name
        if how == "kind":
            return f"{self._of_part(name)}{self._kind[name]}"
        if spans is not None:
            return self._span(name, int(spans[1]))
        if how not in ("block", "block+kind"):
            raise unknown_name_error(
                "groups", how, ("one", "kind", "block", "block+kind", "tensor", "layers:2", *DENOISER_GROUPS)
            )
        where = self._where.get(name)
        if where is None:
            return self._outer_group(name)
        group = f"{self._of_stack(where[0])}block.{where[1]}"
        if how == "block":
            return group
        return f"{group}.{'attention' if self._kind[name] == 'attention' else 'mlp'}"

    def _of_part(self, name: str) -> str:
        return f"{self._part[name]}." if len(self.parts) > 1 else ""

    def _of_stack(self, stack: Stack) -> str:
        return f"{stack.name}." if len(self.stacks) > 1 else ""

    def _outer_group(self, name: str) -> str:
        part = self._part[name]
        if len(self.parts) > 1 and not any(stack.part == part for stack in self.stacks):
            return part
        return f"{self._of_part(name)}{'head' if name in self._after else 'embedding'}"

    def _span(self, name: str, spans: int) -> str:
        if spans > max(1, self.n_blocks):
            expected = f"at most layers:{self.n_blocks}, the number of blocks"
            remedy = "Set merge.groups to block, or to fewer spans."
            raise KingyoError("groups", expected, f"layers:{spans}", remedy)
        where = self._where.get(name)
        if where is not None:
            stack, _, place = where
        else:
            own = [stack for stack in self.stacks if stack.part == self._part[name]]
            if not own:
                return self._outer_group(name) if self.stacks else "layers.0"
            stack = own[-1] if name in self._after else own[0]
            place = len(stack.blocks) - 1 if name in self._after else 0
        return f"{self._of_stack(stack)}layers.{place * spans // len(stack.blocks)}"


VOCABULARY = "vocabulary"
"""Stands for embeddings and head where parts are named."""
_NO_VOCABULARY = ("vision", "audio", "projector")


def select(layout: Layout, parts: Mapping[str, str], frame: str | None = None) -> dict[str, str]:
    """Decide for each tensor whether it is merged, or from which model it is copied.

    Args:
        parts: part -> ``merge``, ``base`` or a model's reference. If any part is ``merge``, all unnamed parts
            are copied from the base; else they are merged. ``vocabulary`` stands for embeddings and head.
        frame: the model that unnamed parts are copied from in any case, with the vocabulary. The language
            part (or a model without parts) is merged unless ``parts`` names it or merges another.
    """
    known = (*layout.parts, VOCABULARY)
    for part in parts:
        if part not in known:
            expected = f"parts of this model ({', '.join(known)})"
            raise KingyoError("parts", expected, f"'{part}'", suggest(part, known))
    if frame is not None:
        main = "language" if "language" in layout.parts else next(iter(layout.parts))
        merged = {} if MERGE in parts.values() else {main: MERGE}
        parts = {VOCABULARY: frame, **merged, **parts}
    unnamed = frame or (BASE if MERGE in parts.values() else MERGE)

    def use(name: str) -> str:
        part = layout.part(name)
        is_of_vocabulary = layout.stack(name) is None and part not in _NO_VOCABULARY and is_vocabulary(name)
        return (parts.get(VOCABULARY) if is_of_vocabulary else None) or parts.get(part) or unnamed

    return {name: use(name) for name in layout.names}


def _inner_order(stack: Stack) -> tuple[int, str]:
    return stack_rank(stack), stack.prefix


@dataclass(frozen=True, kw_only=True)
class ModelTensors:
    """The reference, config.json and tensors of a model, without stored copies of tied weights."""

    reference: str
    config: Mapping[str, object]
    tensors: Mapping[str, TensorInfo]

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.tensors, self.config)


KEY = "tie_word_embeddings"
_BLOCK = 1 << 20  # bytes compared at a time; numpy needs as much memory again
_WITH_VOCABULARY = ("language", "decoder", "shared", "encoder")


def untied(model: ModelTensors, config: Mapping[str, object]) -> dict[str, object]:
    changed = dict(config)
    for key in TEXTS:
        inner = config.get(key)
        if isinstance(inner, dict) and KEY in inner:
            changed[key] = {**cast("dict[str, object]", inner), KEY: False}
    changed[KEY] = False
    before, after = complete(config), complete(changed)
    other = [key for key in after if key not in (KEY, *TEXTS) and after[key] != before.get(key)]
    if other:
        received = f"several values, and untying {model.reference} would change {other[0]} as well"
        remedy = f"Merge models with the same {KEY}."
        raise KingyoError(f"{KEY} in config.json", "one value in all models", received, remedy)
    return changed


def find_embedding(model: ModelTensors) -> str | None:
    """Return the name of the token embedding, to which other tensors are tied; None without one."""
    embeddings = [
        name
        for name in _vocabulary(model)
        if model.layout.kind(name) == "embedding" and len(model.tensors[name].shape) == 2
    ]
    return min(embeddings, key=lambda name: ("shared" not in name, name.count("."), name), default=None)


def count_tokens(model: ModelTensors) -> int | None:
    embedding = find_embedding(model)
    return None if embedding is None else model.tensors[embedding].shape[0]


def find_copies(model: ModelTensors) -> dict[str, str]:
    """Find stored copies of tied weights (a head, embeddings of encoder and decoder) -> the original."""
    copies: dict[str, str] = {}
    for name, info in model.tensors.items():
        above = _above(name)
        is_bias = name.endswith(".bias") and above in model.tensors and model.layout.kind(name) == "head"
        if is_bias and _are_equal(info, model.tensors[above]) and _ties(model):
            copies[name] = above  # such as predictions.decoder.bias of BERT
    embedding = find_embedding(model)
    if embedding is None:
        return copies
    shape = model.tensors[embedding].shape
    stated = _states_tie(model.config)
    alike = [name for name in _vocabulary(model) if name != embedding and model.tensors[name].shape == shape]
    heads = [name for name in alike if model.layout.kind(name) == "head"]
    candidates = [name for name in alike if stated is not False or name not in heads]
    equal = [name for name in candidates if _are_equal(model.tensors[name], model.tensors[embedding])]
    if heads and stated is True and not any(name in equal for name in heads):
        expected = f"the same weights as {embedding}, since the config ties them"
        remedy = f"Set {KEY} to false in config.json if they are not tied."
        raise KingyoError(f"{model.reference}: {heads[0]}", expected, "other weights", remedy)
    return copies | {name: embedding for name in equal if name not in heads or _ties(model)}


def tied_tensor(model: ModelTensors, name: str) -> str | None:
    if name.endswith(".bias"):
        above = _above(name)
        has_above = above in model.tensors and model.layout.kind(above) == "head"
        return above if has_above and _ties(model) else None
    is_head = is_output(name)
    is_embedding = is_vocabulary(name) and find_kind(name, in_block=False) == "embedding"
    if not (is_head or is_embedding) or any(word.isdigit() for word in name.split(".")):
        return None
    stored = find_embedding(model)
    if stored is None and is_embedding:  # stored under the name of the head
        stored = next((each for each in _vocabulary(model) if is_output(each)), None)
    return stored if stored is not None and _ties(model) else None


def _vocabulary(model: ModelTensors) -> list[str]:
    layout = model.layout
    return [
        name
        for name in model.tensors
        if layout.stack(name) is None and layout.part(name) in _WITH_VOCABULARY and is_vocabulary(name)
    ]


def _states_tie(config: Mapping[str, object]) -> bool | None:
    inner = [config[key] for key in TEXTS if isinstance(config.get(key), dict)]
    levels = cast("list[Mapping[str, object]]", [config, *inner])
    stated = [level[KEY] for level in levels if KEY in level]
    return stated[0] is True if stated else None


def _ties(model: ModelTensors) -> bool:
    stated = _states_tie(model.config)
    return complete(model.config).get(KEY) is True if stated is None else stated


def _above(bias: str) -> str:
    return f"{bias.removesuffix('.bias').rpartition('.')[0]}.bias"


def _are_equal(one: TensorInfo, other: TensorInfo) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    first, second = map_bytes(one), map_bytes(other)
    starts = range(0, len(first), _BLOCK)
    return all(np.array_equal(first[i : i + _BLOCK], second[i : i + _BLOCK]) for i in starts)

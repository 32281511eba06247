"""Measure the weights of a group tensor by tensor, and keep each measurement in the evidence store.

A measurement belongs to the files of all models of the group, as they were when they were opened. So a
changed model, other members or another base are measured anew, and a killed command continues with the next
tensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256

from kingyo.core.io.units import size_text
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit
from kingyo.merging.checkpoints.header import WIDTHS, check_stamps
from kingyo.merging.engine.sources import on_disk
from kingyo.scout.structure import Structure, structure_of
from kingyo.scout.tensor_sums import NotFiniteError, TensorSums, measure_tensor
from kingyo.store.side_databases import EvidenceStore

Progress = Callable[[int, int], None]
"""Called with the bytes of the tensors that are measured, and of all that will be."""
_VERSION = 1
"""Version of the sums; another one measures everything anew."""
_MOST_AT_ONCE = 4
"""A tensor that takes more than this part of the limit is chosen last."""


def measure_group(
    base: Checkpoint | None,
    members: Sequence[Checkpoint],
    store: EvidenceStore,
    limit: int,
    progress: Progress = lambda _done, _total: None,
) -> tuple[Structure | None, Mapping[str, str]]:
    """Measure models that fit one another, in any order, and store each tensor as soon as it is measured.

    Args:
        base: their base; None measures the differences from the members' mean.
        members: the models.
        store: measurements of earlier calls, which are not repeated.
        limit: most bytes to read, for all models together.
        progress: called after each tensor.

    Returns:
        The structure of the members whose weights are finite, None if nothing can be compared; and the
        members that cannot be merged -> where NaN or infinity is, in them or in the base.

    Raises:
        KingyoError: a file changed while it was read, or the limit is below the smallest tensor.
    """
    members = sorted(members, key=lambda model: model.reference)
    models = [*members, *([] if base is None else [base])]
    known = ((model.reference, store.not_finite(_key([model]))) for model in models)
    broken = {reference: tensor for reference, tensor in known if tensor is not None}
    while True:
        finite = [model for model in members if model.reference not in broken]
        if base is not None and base.reference in broken:
            where = f"{broken[base.reference]} of the base"
            return None, {each.reference: where for each in members}
        if len(finite) < (2 if base is None else 1):
            return None, broken
        try:
            return _Pass(base, finite, store, limit).run(progress), broken
        except NotFiniteError as error:
            now = [[*finite, base][position] for position in error.positions]
            broken |= {model.reference: error.tensor for model in now if model is not None}
            _carry_over(store, base, finite, broken)
            for model in now:
                store.add_not_finite(_key([model]), error.tensor)


def _carry_over(
    store: EvidenceStore, base: Checkpoint | None, members: Sequence[Checkpoint], broken: Mapping[str, str]
) -> None:
    """Keep what was measured on the members that stay; without a base nothing, since their mean changes."""
    stay = [i for i, model in enumerate(members) if model.reference not in broken]
    if base is None or base.reference in broken or not stay:
        return
    before, after = _key([base, *members]), _key([base, *(members[i] for i in stay)])
    for tensor in store.tensors(before):
        content = store.get(before, tensor)
        if content is not None:
            sums = TensorSums.from_bytes(content, len(members)).only(stay)
            store.add(after, tensor, sums.to_bytes())


class _Pass:
    """One pass over the tensors of models whose weights are finite, as far as is known."""

    def __init__(
        self, base: Checkpoint | None, members: Sequence[Checkpoint], store: EvidenceStore, limit: int
    ) -> None:
        self._like = members[0] if base is None else base
        self._base = base
        self._members = [
            model if model is self._like else fit(self._like, [model]).models[model.reference]
            for model in members
        ]
        self._store = store
        self._key = _key([base, *members])
        self._files = [*on_disk([*members, self._like])]
        self._sizes = self._find_sizes()
        self._chosen = choose_tensors(self._like.layout.groups("block"), self._sizes, limit)
        if self._sizes and not self._chosen:
            least = size_text(min(self._sizes.values()))
            expected = f"at least {least}, the size of the smallest tensor in all models"
            raise KingyoError("--max-bytes", expected, size_text(limit), "Allow more bytes.")

    def run(self, progress: Progress) -> Structure:
        return structure_of(
            [model.reference for model in self._members],
            None if self._base is None else self._base.reference,
            self._sums(progress),
            sum(self._like.tensors[name].n_elements for name in self._sizes),
        )

    def _find_sizes(self) -> dict[str, int]:
        """Return the bytes in all models of each tensor that can be measured."""
        models = [*self._members, self._like] if self._base is not None else self._members
        sizes = dict[str, int]()
        for name, own in self._like.tensors.items():
            infos = [model.tensors[name] for model in models if name in model.tensors]
            if len(infos) == len(models) and own.is_floating:
                sizes[name] = sum(info.n_elements * WIDTHS[info.stored_dtype] for info in infos)
        return sizes

    def _sums(self, progress: Progress) -> Iterator[tuple[str, TensorSums]]:
        """Yield the layer and the sums of each tensor, measured now or before."""
        done, total = 0, sum(self._sizes[name] for name in self._chosen)
        for name, layer in self._chosen.items():
            progress(done, total)
            stored = self._store.get(self._key, name)
            if stored is None:
                yield layer, self._measure(name)
            else:
                yield layer, TensorSums.from_bytes(stored, len(self._members))
            done += self._sizes[name]
        progress(done, total)

    def _measure(self, name: str) -> TensorSums:
        try:
            sums = measure_tensor(name, self._members, self._base)
        finally:  # numbers of a file that changed, and what is wrong with them, count as little as a success
            for each in self._files:
                check_stamps(each.reference, each.seen)
        self._store.add(self._key, name, sums.to_bytes())
        for model in (*self._members, self._like):
            model.forget()
        return sums


def _key(models: Sequence[Checkpoint | None]) -> str:
    """Return the key of some models: of their files, as they were when they were opened."""
    files = [
        None
        if model is None
        else [
            [str(file.resolve()), *stamp]
            for each in on_disk([model])
            for file, stamp in sorted(each.seen.items())
        ]
        for model in models
    ]
    return sha256(json.dumps([_VERSION, files]).encode()).hexdigest()


def choose_tensors(
    groups: Mapping[str, Sequence[str]], sizes: Mapping[str, int], limit: int
) -> dict[str, str]:
    """Return the tensors to measure within a limit of bytes, each with its group, in the order of the groups.

    All tensors are chosen if they fit. Otherwise each group first gets its smallest tensor, then the groups
    get one more tensor in turn; the turn starts with another tensor in each group, so that with few tensors
    the kinds still alternate.

    Args:
        groups: group -> tensors, such as the blocks of a model from input to output.
        sizes: tensor -> bytes of all models. Tensors without a size are not chosen.
        limit: most bytes.
    """
    known = {group: [name for name in names if name in sizes] for group, names in groups.items()}
    of = {name: group for group, names in known.items() for name in names}
    if sum(sizes[name] for name in of) <= limit:
        return of
    chosen, left = set[str](), limit
    for name in _in_turn([names for names in known.values() if names], sizes, limit):
        if name not in chosen and sizes[name] <= left:
            chosen.add(name)
            left -= sizes[name]
    return {name: group for name, group in of.items() if name in chosen}


def _in_turn(groups: Sequence[Sequence[str]], sizes: Mapping[str, int], limit: int) -> Iterator[str]:
    """Yield the tensors in the order in which they are chosen; some come twice.

    The order of the groups by the bits of their numbers, last first (of five 0, 4, 2, 1, 3), has beginnings
    that are evenly spread.
    """
    bits = max(1, (len(groups) - 1).bit_length())
    order = sorted(range(len(groups)), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
    spread = [groups[i] for i in order]
    yield from (min(names, key=lambda name: sizes[name]) for names in spread)
    for most in (limit // _MOST_AT_ONCE, limit):
        for turn in range(max(map(len, spread), default=0)):
            for place, names in enumerate(spread):
                name = names[(place + turn) % len(names)]
                if turn < len(names) and sizes[name] <= most:
                    yield name

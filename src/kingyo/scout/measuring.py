"""Measure the weights of a group tensor by tensor, and keep each measurement in the evidence store.

A measurement belongs to the files of all models of the group, as they were when they were opened. So a
changed model, other members or another base are measured anew, and a killed command continues with the next
tensor.
"""

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
_VERSION = 2
"""Version of the sums; another one measures everything anew."""


def measure_group(
    base: Checkpoint,
    members: Sequence[Checkpoint],
    store: EvidenceStore,
    limit: int,
    progress: Progress = lambda _done, _total: None,
) -> tuple[Structure | None, Mapping[str, str]]:
    """Measure models that fit their base, in any order, and store each tensor as soon as it is measured.

    Args:
        base: their base.
        members: the models.
        store: measurements of earlier calls, which are not repeated.
        limit: most bytes to read, for all models together.
        progress: called after each tensor.

    Returns:
        The structure of the members whose weights are finite, None if there are none; and the members that
        cannot be merged -> where NaN or infinity is, in them or in the base.

    Raises:
        KingyoError: a file changed while it was read, or the limit is below the smallest tensor.
    """
    finite = sorted(members, key=lambda model: model.reference)
    broken: dict[str, str] = {}
    while finite:
        try:
            return _Pass(base, finite, store, limit).run(progress), broken
        except NotFiniteError as error:
            if len(finite) in error.positions:
                return None, {each.reference: f"{error.tensor} of the base" for each in members}
            broken |= {finite[position].reference: error.tensor for position in error.positions}
            finite = [model for model in finite if model.reference not in broken]
    return None, broken


class _Pass:
    def __init__(
        self, base: Checkpoint, members: Sequence[Checkpoint], store: EvidenceStore, limit: int
    ) -> None:
        self._base = base
        self._members = [fit(base, [model]).models[model.reference] for model in members]
        self._store = store
        self._key = _key([base, *members])
        self._files = [*on_disk([*members, base])]
        self._sizes = self._find_sizes()
        self._chosen = choose_tensors(base.layout.groups("block"), self._sizes, limit)
        if self._sizes and not self._chosen:
            least = size_text(min(self._sizes.values()))
            expected = f"at least {least}, the size of the smallest tensor in all models"
            raise KingyoError("--max-bytes", expected, size_text(limit), "Allow more bytes.")

    def run(self, progress: Progress) -> Structure:
        return structure_of(
            [model.reference for model in self._members],
            self._sums(progress),
            sum(self._base.tensors[name].n_elements for name in self._sizes),
        )

    def _find_sizes(self) -> dict[str, int]:
        models = [*self._members, self._base]
        sizes = dict[str, int]()
        for name, own in self._base.tensors.items():
            infos = [model.tensors[name] for model in models if name in model.tensors]
            if len(infos) == len(models) and own.is_floating:
                sizes[name] = sum(info.n_elements * WIDTHS[info.stored_dtype] for info in infos)
        return sizes

    def _sums(self, progress: Progress) -> Iterator[tuple[str, TensorSums]]:
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
        for model in (*self._members, self._base):
            model.forget()
        return sums


def _key(models: Sequence[Checkpoint]) -> str:
    files = [
        [
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

    If not all fit, they are drawn at random, always the same ones.

    Args:
        groups: group -> tensors, such as the blocks of a model from input to output.
        sizes: tensor -> bytes of all models. Tensors without a size are not chosen.
        limit: most bytes.
    """
    group_of = {name: group for group, names in groups.items() for name in names if name in sizes}
    chosen, left = set[str](), limit
    for name in sorted(group_of, key=lambda name: sha256(name.encode()).digest()):
        if sizes[name] <= left:
            chosen.add(name)
            left -= sizes[name]
    return {name: group for name, group in group_of.items() if name in chosen}

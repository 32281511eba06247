"""The plan of a merge, as data and as text, and its result as a checkpoint that is never written to disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from kingyo.checkpoints import Checkpoint, TensorInfo
from kingyo.checkpoints.checkpoint import TensorInputs
from kingyo.checkpoints.writer import copy_companions
from kingyo.engine.jobs import TensorJob, compute
from kingyo.engine.layer_path import path_to_slices
from kingyo.engine.modules import ModuleMerge, expand_modules
from kingyo.engine.sources import Sources
from kingyo.errors import KingyoError, suggest
from kingyo.io.lazy_torch import Tensor
from kingyo.methods import MergeMethod
from kingyo.recipe import Recipe
from kingyo.registry import is_in_file, whole_reference
from kingyo.user_code.files import hash_own
from kingyo.vocabulary import TOKENIZER_FILES, Diagnostic, Vocabulary


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a merge will compute. A plan is data: no weight is read.

    Attributes:
        recipe: the recipe.
        method: its merge method.
        jobs: one job for each tensor of the output.
        sources: the models that the jobs read.
        like: the template of the output, which gives it config, tokenizer and files: the base, else the first
            model. If layers are sliced or vocabularies united, it has the output's config and tensors.
        vocabulary: the output's vocabulary; None: that of ``like``.
        tokenizer_files: tokenizer files of the output by name, and its generation config if token ids change;
            None: those of ``like``. If set, no file of ``TOKENIZER_FILES`` is copied from ``like``.
        differences: differences between the models that do not prevent the merge, as sentences.
        unmatched: warnings of filters that match no tensor.
    """

    recipe: Recipe
    method: MergeMethod
    jobs: tuple[TensorJob, ...]
    sources: Sources
    like: Checkpoint
    vocabulary: Vocabulary | None = None
    tokenizer_files: Mapping[str, bytes] | None = None
    differences: tuple[str, ...] = ()
    unmatched: tuple[Diagnostic, ...] = ()

    @cached_property
    def jobs_by_name(self) -> Mapping[str, TensorJob]:
        """The jobs by the name of their tensor."""
        return {job.name: job for job in self.jobs}

    @cached_property
    def made_by(self) -> str:
        """The recipe and the files of a user's method, which identify the merge together with its models."""
        method, folder = self.recipe.merge_method, self.sources.folder or Path.cwd()
        file = Path(whole_reference(method, folder).rpartition(":")[0])
        own = hash_own(file, None, folder) if is_in_file(method) else {}
        return json.dumps([self.recipe.hash, *sorted((str(path), own[path]) for path in own)])

    @property
    def weights_of(self) -> frozenset[str]:
        """References of the models whose weights are read."""
        merged = {each for job in self.jobs for each in job.sources}
        return frozenset(merged | {job.base.reference for job in self.jobs if job.base is not None})

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything doubtful about the merge, as sentences."""
        return (*self.differences, *(str(each.error) for each in self.unmatched))

    def heading(self) -> list[str]:
        """Return lines that name method, models, base, seed and vocabulary."""
        modules = expand_modules(path_to_slices(self.recipe, self.sources), self.method)
        lines = [f"{self.method.name} of {line}" for each in modules for line in _describe_module(each)]
        lines += [f"base: {self.recipe.base_model}"] if self.recipe.base_model is not None else []
        lines += [f"seed: {self.recipe.seed}"] if self.method.stochastic else []
        return lines + (self.vocabulary.describe() if self.vocabulary is not None else [])


def _describe_module(module: ModuleMerge) -> Iterator[str]:
    first = 0
    for piece in module.pieces:
        n = piece.n_layers
        names = ", ".join(each.reference for each in piece.merged)
        if n is None:
            yield f"{len(piece.merged)}: {names}{f' ({module.name})' if module.name else ''}"
            continue
        if n == 0:
            place = "after" if first else "before"
            yield f"{len(piece.merged)}, tensors {place} the layers: {names}"
            continue
        ranges = [f"{each.reference} {_range(each.start, n)}" for each in piece.merged]
        if piece.base is not None:
            ranges.append(f"base {piece.base.reference} {_range(piece.base.start, n)}")
        yield f"{len(piece.merged)}, layers {_range(first, n)} of the output: {', '.join(ranges)}"
        first += n


def _range(first: int, n: int) -> str:
    return f"{first}–{first + n - 1}" if n > 1 else str(first)


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint(Checkpoint):
    """The result of a plan, computed tensor by tensor when it is read.

    Each tensor is rounded to the dtype that it would be stored in, so a merge of it is bit-identical to two
    merges one after the other.
    """

    plan: Plan = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Compute a tensor."""
        if name not in self.tensors:
            remedy = suggest(name, self.tensors)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        return compute(self.plan.jobs_by_name[name], self.plan.sources.read)

    def needs(self, name: str) -> TensorInputs:
        """Return the inputs of the job of a tensor, each once."""
        inputs = dict.fromkeys((each.reference, each.tensor) for each in self.plan.jobs_by_name[name].reads)
        return TensorInputs(
            others=tuple((self.plan.sources[reference], tensor) for reference, tensor in inputs)
        )


def planned_checkpoint(name: str, plan: Plan) -> PlannedCheckpoint:
    """Return the result of a plan as a checkpoint, by its name in the recipes that merge it."""
    folder = plan.like.path
    if plan.tokenizer_files is not None:
        folder = _folder_of(plan)
        finalize(plan, shutil.rmtree, folder, ignore_errors=True)
    return PlannedCheckpoint(
        reference=name,
        path=folder,
        config=plan.like.config,
        tensors={
            job.name: TensorInfo(name=job.name, shape=job.shape, dtype=job.dtype, file=folder, start=0)
            for job in plan.jobs
        },
        made_of=tuple(plan.sources[reference] for reference in sorted(plan.weights_of)),
        made_by=plan.made_by,
        plan=plan,
    )


def _folder_of(plan: Plan) -> Path:
    """Make a folder with the plan's tokenizer and all other files beside the weights."""
    folder = Path(mkdtemp(prefix="kingyo-"))
    copy_companions(folder, plan.like, TOKENIZER_FILES)
    for name, content in (plan.tokenizer_files or {}).items():
        (folder / name).write_bytes(content)
    return folder

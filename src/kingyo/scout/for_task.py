"""A run whose sources a scout finds, ``sources: {scout: WHERE}``: its candidates, and the run that begins."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from kingyo.core.io.model_names import is_local, local_path
from kingyo.core.io.pipeline_index import DENOISERS
from kingyo.core.io.schema import Count, Real, StrictModel, parse_model
from kingyo.core.io.units import parse_size, size_text
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.checkpoints.model_reference import parse_reference
from kingyo.merging.methods import METHODS
from kingyo.models.kinds import HasLanguagePart
from kingyo.runs.begin import begin
from kingyo.runs.choice import TRIAL_DTYPE, ChoiceRequest, answers_alone, section
from kingyo.runs.config import RANDOM_SOURCES, RESERVED_NAMES, RunConfig
from kingyo.runs.config_file import BY_SCOUT, config_from_data
from kingyo.runs.model_kind import require_answers
from kingyo.runs.preflight import check_frame
from kingyo.runs.run import Run
from kingyo.runs.settings import settings_of
from kingyo.scout.catalogue import Catalogue, Group, catalogue, with_structures
from kingyo.scout.places import find_places
from kingyo.search.space.parameter import HIGHEST
from kingyo.search.strategies import STRATEGIES
from kingyo.search.strategies.base import MAX_SIZE
from kingyo.store.side_databases import EvidenceStore

TAKEN_OVER = (
    *("task", "tasks", "kind", "allow_pickle"),
    *("batch_size", "device", "threads", "runner", "workers", "timeout"),
)
"""Keys of a run.yaml that trial merges follow, too."""
MOST_BYTES = 20_000_000_000
"""Bytes of weights that are read of each group."""
MAX_MINUTES = 1e7
OPTIONS: Mapping[str, str] = {
    "scout": "--task",
    "frame": "--frame",
    "item_evaluations": "--item-evaluations",
    "max_size": "--max-size",
    "max_bytes": "--max-bytes",
}
"""Key of a run.yaml -> option of ``kingyo scout``, for errors."""
Advance = Callable[[str, int, int], None]
"""Called with what is done (reading, measuring), how much of it, and the total: models, or bytes."""


class ScoutedSources(StrictModel):
    """The value of ``sources.scout``: where to look, and limits of the choice.

    Attributes:
        where: folders, names on the Hub, and its tags, as ``hub:base_model:finetune:org/name``. Default:
            **required**.
        min_gain: least gain in mean score for which a source is added.
        most: most sources. Default: no limit.
        max_size: most bytes of all chosen sources, such as ``30GB``. Default: no limit.
        item_evaluations: most answers to grade. Default: no limit.
        minutes: most minutes of scoring. Default: no limit.
        max_bytes: most bytes of weights to read of each group. Default: ``20GB``.
    """

    where: Annotated[list[str], Field(min_length=1)]
    min_gain: Annotated[Real, Field(ge=0, le=1)] = 0.01
    most: Annotated[Count, Field(le=MAX_SIZE)] | None = None
    max_size: str | None = None
    item_evaluations: Count | None = None
    minutes: Annotated[Real, Field(gt=0, le=MAX_MINUTES)] | None = None
    max_bytes: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScoutRequest:
    """What a run.yaml asks a scout for.

    Attributes:
        data: the run.yaml.
        folder: base of the relative paths in it; all other paths start at the working directory.
        out: folder of what is measured.
        base: the only base; None for all that candidates name.
        frame: the model whose vision all trial merges have; None for the first that sees.
        wanted: where to look, and the limits; places start at the working directory.
        is_command: whether ``kingyo scout`` asks, so that errors name its options.
    """

    data: Mapping[str, object]
    folder: Path
    out: Path
    base: str | None
    frame: str | None
    wanted: ScoutedSources
    is_command: bool = False

    @classmethod
    def of(
        cls, data: Mapping[str, object], folder: Path, out: Path, *, is_command: bool = False
    ) -> ScoutRequest:
        """Read the request in a run.yaml whose sources are ``{scout: WHERE}``."""
        asked, base = cast("dict[str, object]", data["sources"])[BY_SCOUT], data.get("base")
        if not isinstance(asked, dict):
            asked = {"where": [asked] if isinstance(asked, str) else asked}
        wanted = parse_model(ScoutedSources, cast("dict[str, object]", asked), "sources.scout")
        frame = section(data, "merge").get("frame")
        if isinstance(base, str) and is_local(base, folder):
            base = os.path.normpath(local_path(base, folder))
        return cls(
            data=data,
            folder=folder,
            out=out,
            base=base if isinstance(base, str) else None,
            frame=frame if isinstance(frame, str) else None,
            wanted=wanted.model_copy(update={"where": [_from(folder, each) for each in wanted.where]}),
            is_command=is_command,
        )

    def named(self, key: str) -> str:
        """Return how the user writes a key."""
        if self.is_command:
            return OPTIONS[key]
        return {"scout": "sources.scout", "frame": "merge.frame"}.get(key, f"sources.scout.{key}")

    @property
    def allow_pickle(self) -> bool:
        return self.data.get("allow_pickle") is True

    @property
    def max_bytes(self) -> int:
        """Most bytes of weights to read of each group."""
        size = self.wanted.max_bytes
        return MOST_BYTES if size is None else parse_size(size, self.named("max_bytes"))

    @property
    def capacity(self) -> float | None:
        """Most bytes of all chosen sources."""
        size = self.wanted.max_size
        return None if size is None else float(parse_size(size, self.named("max_size")))

    def read(self, advance: Advance) -> Catalogue:
        """Read the headers and cards of all candidates."""
        places = find_places(self.wanted.where)
        if not places:
            remedy = "Name a folder with models at a depth of at most 3, or models on the Hub."
            expected = "models, adapters or diffusers pipelines"
            raise KingyoError(", ".join(self.wanted.where), expected, "none", remedy)
        done = 0

        def count_read(n: int) -> None:
            nonlocal done
            done += n
            advance("reading", done, len(places))

        return catalogue(places, self.base, count_read, allow_pickle=self.allow_pickle)

    def measure(self, found: Catalogue, advance: Advance) -> Catalogue:
        """Measure the weights of each group, or go on with that; see ``with_structures``."""
        with EvidenceStore(self.out) as store:
            return with_structures(
                found,
                store,
                self.max_bytes,
                lambda done, total: advance("measuring", done, total),
                allow_pickle=self.allow_pickle,
            )


def _from(folder: Path, place: str) -> str:
    """Return where a scout looks from the working directory; names on the Hub stay."""
    return os.path.normpath(local_path(place, folder)) if is_local(place, folder) else place


def check_rest(data: Mapping[str, object], folder: Path, where: str = "config") -> RunConfig:
    """Return the config in a run.yaml, validated with placeholders for its sources."""
    controls, paths = section(data, "controls"), section(data, "dataflow")
    known: dict[str, object] = {"sources": {"a": "a", "b": "b"}}
    if data.get("space") != "dataflow" and isinstance(data.get("merge", {}), dict):
        known["merge"] = {"method": "task_arithmetic", **section(data, "merge")}
    if controls.get(RANDOM_SOURCES) is True:
        known["controls"] = {**controls, RANDOM_SOURCES: {}}
    if isinstance(paths.get("frame"), str):
        known["dataflow"] = {**paths, "frame": "a"}
    config = config_from_data({**data, **known}, folder, where)
    settings = settings_of(config)
    for method in settings.controls.methods:
        METHODS.get(method, folder)
    STRATEGIES.get(settings.first.strategy, folder)
    return config


@dataclass(frozen=True, kw_only=True)
class TaskCandidates:
    """The candidates for a task, and the run of their trial merges.

    Attributes:
        request: what is asked for.
        group: the candidates and their base; ``left_out`` are the members that are not tried, with reasons.
        run: opened with all candidates as sources.
    """

    request: ScoutRequest
    group: Group
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    run: Run

    @classmethod
    def planned(cls, found: Catalogue, request: ScoutRequest) -> TaskCandidates:
        """Open the candidates by their headers, and check the task and the limits before weights are read."""
        candidates = cls.open(found, request, fetch=False)
        budget = request.wanted.item_evaluations
        fewest = answers_alone(len(candidates.group.members), len(candidates.run.items["fit"]))
        if budget is not None and budget < fewest:
            expected = f"at least {fewest:,} answers: the base and each candidate alone"
            remedy = "Raise it, or name fewer candidates."
            raise KingyoError(request.named("item_evaluations"), expected, f"{budget:,}", remedy)
        most, least = request.capacity, min(candidates.sizes)
        if most is not None and most < least:
            expected = f"at least the size of the smallest candidate, {size_text(int(least))}"
            raise KingyoError(request.named("max_size"), expected, size_text(int(most)), "Raise it.")
        return candidates

    @classmethod
    def open(cls, found: Catalogue, request: ScoutRequest, *, fetch: bool = True) -> TaskCandidates:
        """Open the candidates of the largest group with a base, without near-duplicates.

        ``fetch`` downloads the weights of models on the Hub.
        """
        group, left_out = _largest(found, request.named("scout"))
        run = Run.open(_config_for(group, request), request.folder, fetch=fetch)
        if request.frame is not None:
            if not isinstance(run.kind, HasLanguagePart):
                expected = "a task and models with other parts than the language model, such as vision"
                received = f"models of kind {run.kind.name}"
                remedy = "Leave it out: it has no effect on these."
                raise KingyoError(request.named("frame"), expected, received, remedy)
            check_frame(run, request.named("frame"))
        require_answers(run.task, run.kind)
        return cls(request=request, group=group, left_out=left_out, run=run)

    @property
    def sizes(self) -> list[float]:
        """Bytes of the candidates' own files."""
        return [float(each.facts.n_bytes or 0) for each in self.group.members]

    def begin(self, path: Path, *, seeds: Path | None = None, file: Path | None = None) -> Run:
        """Begin the run; its first stage chooses among the candidates."""
        return begin(self.run, path, seeds=seeds, file=file, request=self.choice_request())

    def choice_request(self) -> ChoiceRequest:
        """Return what the run's first stage needs: the limits, and the changes of each block."""
        wanted, structure = self.request.wanted, self.group.structure
        limits = ChoiceRequest(
            asked=self.request.data,
            min_gain=float(wanted.min_gain),
            most=wanted.most,
            capacity=self.request.capacity,
            item_evaluations=wanted.item_evaluations,
            seconds=None if wanted.minutes is None else 60 * float(wanted.minutes),
            costs=tuple(self.sizes),
        )
        if structure is None:
            return limits
        place = {each.reference: i for i, each in enumerate(structure.members)}
        rows = [place[each.reference] for each in self.group.members]
        changes: list[dict[str, tuple[float, int]]] = []
        for i in rows:
            norm, shares = structure.members[i].norm, structure.members[i].layers.items()
            changes.append({block: (share * norm**2, structure.by_layer[block]) for block, share in shares})
        return replace(limits, changes=tuple(changes))


def _largest(found: Catalogue, argument: str) -> tuple[Group, Mapping[str, str]]:
    """Return the largest group with a base, without near-duplicates and copies of the base, and those."""
    tried: list[tuple[Group, dict[str, str]]] = []
    for group in (each for each in found.groups if each.base is not None):
        members = () if group.structure is None else group.structure.members
        left_out = {each.reference: each.finding for each in members if each.finding is not None}
        stay = tuple(each for each in group.members if each.reference not in left_out)
        tried.append((replace(group, members=stay), left_out))
    largest = max(tried, key=lambda each: len(each[0].members), default=None)
    if largest is not None and len(largest[0].members) > 1:
        return largest
    n_copies = sum(len(left_out) for _, left_out in tried)
    copies = f", {n_copies} of them equal to the base or nearly equal to others" if n_copies else ""
    raise KingyoError(
        argument,
        expected="two candidates or more that fit one base and differ",
        received=f"{found.n_mergeable} that can be merged{copies}; {found.excluded_in_words}",
        remedy="Name more candidates, or their base.",
    )


def _config_for(group: Group, request: ScoutRequest) -> RunConfig:
    """Return the config of a run with all members of a group as sources.

    Its frame is the one that the user named, by its name or reference.
    """
    data, folder, base = request.data, request.folder, group.base or ""
    references = names_of([each.reference for each in group.members])
    here = folder == Path()
    sources = {name: each if here else relative_to(each, folder) for name, each in references.items()}
    frame: dict[str, str] = {}
    if request.frame is not None:
        names = {"base": base, **references}
        for name, reference in names.items():
            if request.frame in (name, reference.rstrip("/"), relative_to(reference, folder)):
                frame.setdefault("frame", name)
        if not frame:
            raise unknown_name_error(request.named("frame"), request.frame, names)
    return config_from_data(
        {
            "name": data.get("name", BY_SCOUT),
            "seed": data.get("seed", 0),
            "base": base if here else relative_to(base, folder),
            "sources": sources,
            **{key: data[key] for key in TAKEN_OVER if key in data},
            "merge": {
                "method": "task_arithmetic",
                "parameters": {"weight": {"from": 0, "to": HIGHEST}},
                "dtype": TRIAL_DTYPE,
                **frame,
            },
            "budget": {"candidates": 1},
            "controls": {"trained": False},
        },
        folder,
    )


def relative_to(reference: str, folder: Path) -> str:
    """Return a reference of a model as a run.yaml in a folder writes it."""
    parsed, there = parse_reference(reference), folder.resolve()

    def relative(name: str) -> str:
        return os.path.relpath(os.path.normpath(local_path(name)), there) if is_local(name) else name

    lora = None if parsed.lora is None else relative(parsed.lora)
    return str(replace(parsed, model=relative(parsed.model), lora=lora))


def names_of(references: Sequence[str]) -> dict[str, str]:
    """Return a name for each model, and the model: the last part of its path, or its pipeline's name."""
    named: dict[str, str] = {}
    for reference in references:
        path = Path(reference.rpartition("+")[2].partition("@")[0])
        last = path.parent.name if path.name in DENOISERS and path.parent.name else path.name
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-._") or "model"
        if name in RESERVED_NAMES or name == "base":
            name = f"{name}-1"
        free = (each for k in count(2) if (each := f"{name}-{k}") not in named)
        named[name if name not in named else next(free)] = reference
    return named

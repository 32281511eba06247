"""The candidates for a task, opened so that sources can be chosen among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.evolution import Event
from kingyo.io.units import size_text
from kingyo.lineage import check_licences
from kingyo.models.kinds import HasLanguagePart
from kingyo.run.model_kind import require_answers
from kingyo.run.preflight import check_frame
from kingyo.run.run import Run
from kingyo.scout.catalogue import Catalogue, Group
from kingyo.scout.choice import (
    ChoiceLimits,
    ChosenSources,
    choose,
    config_for,
    names_of,
    require_budget,
    trials_in,
)
from kingyo.scout.contenders import Contenders, contenders, evidence_of
from kingyo.scout.evidence import with_structures
from kingyo.scout.measuring import Progress
from kingyo.scout.paths import relative_to
from kingyo.scout.verdict import Rules
from kingyo.store.evidence import EvidenceStore
from kingyo.strategies.stepwise import Step

MOST_BYTES = 20_000_000_000
"""Bytes of weights that are read of each group."""
KEYS: Mapping[str, str] = {
    "--hub": "sources.scout.hub",
    "--frame": "merge.frame",
    "--budget": "sources.scout.item_evaluations",
}
"""Option of ``kingyo scout`` -> the key of a run.yaml."""


@dataclass(frozen=True, kw_only=True)
class ScoutRequest:
    """Where to look for models, and the limits of a choice among them.

    Attributes:
        where, hub, limit: folders, names and lists; tags of models of the Hub, and most models of each.
        base: the only base; None for all that candidates name.
        rules: what the user allows.
        out: the folder of what is measured.
        max_bytes: most bytes of weights to read of each group.
        given: the task, and other keys of a run.yaml that trial merges follow.
        folder: base of the paths in ``given``; all other paths start at the working directory.
        seed: draws the items of trial merges.
        frame: the model whose vision all trial merges have; None for the first that sees.
        limits: limits of the choice; its capacity is in bytes.
        argument: the option or key that requests a choice, for errors.
    """

    where: Sequence[str]
    hub: Sequence[str] = ()
    limit: int = 100
    base: str | None = None
    rules: Rules = field(default_factory=Rules)
    out: Path = Path("runs/scout")
    max_bytes: int = MOST_BYTES
    given: Mapping[str, object] = field(default_factory=dict[str, object])
    folder: Path = Path()
    seed: int = 0
    frame: str | None = None
    limits: ChoiceLimits = field(default_factory=ChoiceLimits)
    argument: str = "--task"

    def named(self, option: str) -> str:
        """Return an option, or its key if a run.yaml requests the choice, for errors."""
        return option if self.argument == "--task" else KEYS[option]


def measured(
    found: Catalogue, request: ScoutRequest, progress: Progress = lambda _done, _total: None
) -> Catalogue:
    """Measure the weights of each group, or continue; see ``with_structures``."""
    allow_pickle = request.rules.allow_pickle
    with EvidenceStore(request.out) as store:
        return with_structures(found, store, request.max_bytes, progress, allow_pickle=allow_pickle)


@dataclass(frozen=True, kw_only=True)
class TaskCandidates:
    """The candidates for a task, and the run of their trial merges.

    Paths in the config of the run start at the folder of the request.
    """

    request: ScoutRequest
    tried: Contenders
    run: Run

    @classmethod
    def planned(cls, found: Catalogue, request: ScoutRequest) -> TaskCandidates:
        """Open the candidates by their headers, and check the task and the budget before weights are read.

        Raises:
            KingyoError: see ``open``; or the budget does not suffice for each candidate alone, or the
                capacity for none.
        """
        candidates = cls.open(found, request, fetch=False)
        require_budget(candidates.run, request.limits, request.named("--budget"))
        most, least = request.limits.capacity, min(candidates.sizes)
        if most is not None and most < least:
            raise KingyoError(
                "--max-size",
                expected=f"at least the size of the smallest candidate, {size_text(int(least))}",
                received=size_text(int(most)),
                remedy="Raise it.",
            )
        return candidates

    @classmethod
    def open(cls, found: Catalogue, request: ScoutRequest, *, fetch: bool = True) -> TaskCandidates:
        """Open the candidates of the largest group with a base.

        Args:
            found: the catalogue.
            request: what the user wants.
            fetch: whether to download the weights of models on the Hub.

        Raises:
            KingyoError: no group has a base and two candidates that differ, the task cannot be used, the
                frame has no effect, or the models cannot solve the task in it.
        """
        tried, folder = contenders(found, request.argument), request.folder
        group = tried.group
        if folder != Path():
            named = (replace(each, reference=relative_to(each.reference, folder)) for each in group.members)
            group = replace(group, base=relative_to(group.base or "", folder), members=tuple(named))
        frame = (
            None if request.frame is None else _frame_named(group, request.frame, request.named("--frame"))
        )
        run = Run.open(config_for(group, request.given, folder, request.seed, frame), folder, fetch=fetch)
        if frame is not None:
            _check_frame(run, request)
        require_answers(run.task, run.kind)
        return cls(request=request, tried=tried, run=run)

    @property
    def references(self) -> dict[str, str]:
        """Name of a candidate -> its reference from the working directory."""
        members = self.tried.group.members
        return dict(zip(self.run.config.sources, (each.reference for each in members), strict=True))

    @property
    def sizes(self) -> list[float]:
        """Bytes of the candidates' own files."""
        return [float(each.facts.n_bytes or 0) for each in self.tried.group.members]

    def licence_warnings(self, choice: ChosenSources) -> list[KingyoError]:
        """Return warnings about licences of chosen sources that set different terms."""
        members = {each.reference: each for each in self.tried.group.members}
        chosen = ((name, members[self.references[name]]) for name in choice.chosen)
        licences = [(name, each) for name, member in chosen for each in member.card.licences]
        return [each.error for each in check_licences(licences) if each.level == "warning"]

    def choose(self, notify: Callable[[Event, Sequence[Step]], None]) -> ChosenSources:
        """Choose sources, or continue a choice that was stopped; a source costs the bytes of its own files.

        Raises:
            KingyoError: see ``kingyo.scout.choice.choose``.
        """
        limits = self.request.limits
        if limits.capacity is not None:
            limits = replace(limits, costs=dict(zip(self.references, self.sizes, strict=True)))
        evidence = evidence_of(self.tried.group, self.references)
        return choose(self.run, trials_in(self.request.out), limits, evidence, notify)


def _frame_named(group: Group, wanted: str, argument: str) -> str:
    """Return the name of the model that a user names as the frame, by its name or reference.

    Raises:
        KingyoError: it is neither the base nor a candidate of the group.
    """
    names = {"base": group.base or "", **names_of([each.reference for each in group.members])}
    found = [name for name, reference in names.items() if wanted in (name, reference.rstrip("/"))]
    if not found:
        raise unknown_name_error(argument, wanted, names)
    return found[0]


def _check_frame(run: Run, request: ScoutRequest) -> None:
    """Check that the frame that a user names has other parts than the language model."""
    argument = request.named("--frame")
    if not isinstance(run.kind, HasLanguagePart):
        raise KingyoError(
            argument,
            expected="a task and models with other parts than the language model, such as vision",
            received=f"models of kind {run.kind.name}",
            remedy="Leave it out: it has no effect on these.",
        )
    check_frame(run, argument)

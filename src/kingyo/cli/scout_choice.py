"""``kingyo scout --task``: choose sources by trial merges, print them with reasons, write their run.yaml."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.cli.run import interruptible
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, attempt
from kingyo.io.units import counted, percent, size_text

if TYPE_CHECKING:
    from kingyo.evolution import Event
    from kingyo.run.run import Run
    from kingyo.scout import Catalogue, Group
    from kingyo.scout.choice import ChosenSources, Wishes
    from kingyo.strategies.stepwise import Step

SECONDS_PER_LINE = 10.0
PER_CANDIDATE = (130, 600)
"""Answers per candidate that choices took: 134 among the zoo's 5 sources, up to 619 among 18 of zoo/pool."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of ``kingyo scout --task``.

    Attributes:
        task: the task file.
        out: the scout's folder.
        seed: draws the items of trial merges.
        min_gain: least gain in mean score that a source must add.
        most: most sources.
        max_size: most bytes of all chosen sources.
        budget: most answers.
        minutes: most minutes of scoring.
        frame: the candidate whose vision all merges have.
    """

    task: Path
    out: Path
    seed: int
    min_gain: float
    most: int | None
    max_size: int | None
    budget: int | None
    minutes: float | None
    frame: str | None = None

    @property
    def trials(self) -> Path:
        """The folder of the trial merges."""
        from kingyo.scout.choice import trials_in

        return trials_in(self.out)

    @property
    def tasks(self) -> dict[str, object]:
        """The key of a run.yaml for the task."""
        return {"task": {"file": str(self.task)}}


def require_task(asked: Asked) -> None:
    """Check the task file before models are read."""
    from kingyo.tasks import load_task_spec

    load_task_spec(asked.task)


class ChoiceProgress:
    """Show the progress of a choice on standard error: each decision, and how many answers were graded."""

    def __init__(self, names: Sequence[str], *, quiet: bool) -> None:
        self._names = names
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._n_merges = self._n_answers = self._n_steps = 0
        self._last = time.monotonic()

    def notify(self, event: Event, steps: Sequence[Step]) -> None:
        """Count an event; print each new decision, and a line every ten seconds."""
        if event.kind not in ("ended", "more") or event.evaluation is None:
            return
        self._n_merges += event.kind == "ended"
        if event.evaluation.copied_from is None:
            self._n_answers += len(event.evaluation.scores)
        for step in steps[self._n_steps :]:
            self._print(self._decision(step))
        self._n_steps = len(steps)
        if not event.replayed and time.monotonic() - self._last >= SECONDS_PER_LINE:
            self._print(f"  {counted(self._n_merges, 'trial merge')}, {self._n_answers:,} answers")

    def _decision(self, step: Step) -> str:
        if step.added is None:
            return f"{counted(len(step.chosen), 'source')}; no further one is worth adding"
        gain, number = step.gains[step.added], len(step.chosen) + 1
        return f"{number}. {self._names[step.added]}: {100 * gain.mean:+.0f} points ({gain.n} items)"

    def _print(self, line: str) -> None:
        self._last = time.monotonic()
        if not self._quiet:
            print_text(self._console, escape(line))


def print_choice(choice: ChosenSources, run_yaml: Path | None, report: Path | None) -> None:
    """Print the chosen sources with reasons, the best of the others, and what comes next."""
    from kingyo.scout.suggestion import ENDS, gain_text, next_gain, predictions_text, score_text

    console = Console(highlight=False)
    table = plain_table("source", "alone", "gain when added", "in the final set", title="Chosen", n_left=1)
    added = {step.added: step for step in choice.steps if step.added is not None}
    for name in choice.chosen:
        i = choice.sources.index(name)
        last = choice.contributions.get(name)
        cells = (
            name,
            percent(choice.alone[name].score) if name in choice.alone else "–",
            gain_text(added[i].gains[i]) if i in added else "–",
            "–" if last is None else gain_text(last),
        )
        table.add_row(*map(escape, cells))
    if choice.chosen:
        print_table(console, table)
    if choice.score is not None:
        merge = "Their plain merge" if choice.chosen else "The base alone"
        print_text(console, f"{merge} solves {score_text(choice.score)} of fit.")
    after = next_gain(choice)
    if after is not None:
        print_text(console, escape(f"The best further source is {after[0]}: {gain_text(after[1])}."))
    if choice.verdict in ENDS:
        print_text(console, ENDS[choice.verdict])
    print_text(console, predictions_text(choice.correlation))
    print_text(console, f"{counted(choice.item_evaluations, 'answer')} in {choice.minutes:.1f} minutes.")
    for name, reason in choice.failed.items():
        print_text(console, escape(f"{name} cannot be scored: {reason}"))
    if report is not None:
        print_text(console, escape(f"Wrote {report}."))
    if run_yaml is None:
        print_text(console, "No source is worth adding, so there is no run.yaml.")
    else:
        print_text(console, escape(f"Wrote {run_yaml}. Next: kingyo evolve {shlex.quote(str(run_yaml))}"))


def choose_for_task(found: Catalogue, asked: Asked, *, as_json: bool) -> None:
    """Choose sources for a task, print them, and write their run.yaml and a report.

    Raises:
        KingyoError: no group has a base and two candidates, the task cannot be used, or the folder has
            another choice.
    """
    from kingyo.cli.advice import warn
    from kingyo.cli.as_json import print_json
    from kingyo.report.scout_page import write_scout_report
    from kingyo.scout.choice import choose
    from kingyo.scout.contenders import contenders, evidence_of
    from kingyo.scout.suggestion import write_run_yaml

    tried = contenders(found)
    with redirect_stdout(sys.stderr):
        run = _opened(tried.group, asked)
    progress = ChoiceProgress(list(run.config.sources), quiet=as_json)
    command = shlex.join(("kingyo", *sys.argv[1:]))
    evidence = evidence_of(tried.group, run.config.sources)
    with redirect_stdout(sys.stderr), interruptible(lambda: f"Interrupted; continue with: {command}"):
        choice = choose(run, asked.trials, _wishes(asked, tried.group), evidence, progress.notify)
    path = write_run_yaml(choice, run, asked.task, asked.out, asked.trials) if choice.chosen else None
    page = attempt(lambda: write_scout_report(found, tried.group, choice, asked.out), warn, None)
    if as_json:
        print_json(
            {
                **found.to_json(),
                "choice": choice.to_json(),
                "not_tried": dict(tried.left_out),
                "report": None if page is None else str(page),
            }
        )
    else:
        print_choice(choice, path, page)


def print_plan(found: Catalogue, asked: Asked, max_bytes: int, *, as_json: bool) -> None:
    """Print what a choice would read and score."""
    from kingyo.cli.as_json import print_json
    from kingyo.scout.choice import answers_alone
    from kingyo.scout.contenders import contenders

    group = contenders(found).group
    with redirect_stdout(sys.stderr):
        run = _opened(group, asked)
    n, n_fit = len(group.members), len(run.items["fit"])
    most = sys.maxsize if asked.budget is None else asked.budget
    alone = answers_alone(n, n_fit)
    low, high = (min(each * n, most) for each in PER_CANDIDATE)
    read = min(max_bytes, sum(each.facts.n_bytes or 0 for each in group.members))
    plan = {
        "candidates": n,
        "fit_items": n_fit,
        "bytes": read,
        "answers_of_single_candidates": alone,
        "answers": [low, high],
    }
    if as_json:
        print_json({**found.to_json(), "plan": plan})
        return
    lines = (
        f"Task {run.task.name}: {counted(n_fit, 'fit item')}. {counted(n, 'candidate')} for {group.base}.",
        f"The weights are read once, {size_text(read)} at most. Near-duplicates are then left out.",
        f"Each candidate alone: {alone:,} answers. The whole choice: about {low:,} to {high:,} answers; "
        "--budget and --minutes limit it.",
    )
    for line in lines:
        print_text(Console(highlight=False), escape(line))


def _opened(group: Group, asked: Asked) -> Run:
    from kingyo.run.model_kind import require_answers
    from kingyo.run.run import Run
    from kingyo.scout.choice import config_for
    from kingyo.scout.frame import frame_named

    frame = None if asked.frame is None else frame_named(group, asked.frame)
    run = Run.open(config_for(group, asked.tasks, Path(), asked.seed, frame), Path())
    require_answers(run.task, run.kind)
    return run


def _wishes(asked: Asked, group: Group) -> Wishes:
    """Return the limits of a choice; a source costs the bytes of its own files."""
    from kingyo.scout.choice import Wishes, names_of

    sizes = {each.reference: float(each.facts.n_bytes or 0) for each in group.members}
    names = names_of([each.reference for each in group.members])
    return Wishes(
        min_gain=asked.min_gain,
        most=asked.most,
        costs={} if asked.max_size is None else {name: sizes[each] for name, each in names.items()},
        capacity=None if asked.max_size is None else float(asked.max_size),
        item_evaluations=asked.budget,
        seconds=None if asked.minutes is None else 60 * asked.minutes,
    )


def choose_sources(
    file: Path, data: dict[str, object], run: Path | None, seed: int | None, *, is_dry_run: bool, quiet: bool
) -> dict[str, object]:
    """Return a run.yaml with the sources that a scout chooses. Measurements are kept beside the run folder.

    Args:
        file: the run.yaml, with ``sources: {scout: WHERE}``.
        data: its content.
        run: the run folder, if the user names it.
        seed: the seed, if the user names it.
        is_dry_run: whether nothing may be scored, which is refused.
        quiet: whether to show nothing.
    """
    from kingyo.run.config_file import name_from_path
    from kingyo.scout.chosen_sources import Watching, with_chosen_sources

    if is_dry_run:
        raise KingyoError(
            f"{file} with --dry-run",
            expected="sources that are known",
            received="sources that a scout chooses",
            remedy="Run `kingyo scout WHERE --task TASK.yaml --dry-run`.",
        )
    folder = run or Path("runs") / str(data.get("name", name_from_path(file)))
    out = folder.with_name(f"{folder.name}-scout")
    watching = Watching(
        say=lambda text: echo(text, err=True),
        begin=lambda names: ChoiceProgress(names, quiet=quiet).notify,
    )
    if not quiet:
        echo(f"Choosing sources; what is measured is kept in {out}.", err=True)
    chosen_seed = data.get("seed", 0) if seed is None else seed
    command = shlex.join(("kingyo", *sys.argv[1:]))
    with redirect_stdout(sys.stderr), interruptible(lambda: f"Interrupted; continue with: {command}"):
        return with_chosen_sources(
            data, file.parent, out, chosen_seed if isinstance(chosen_seed, int) else 0, watching
        )

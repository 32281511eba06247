"""Commands on a run: evolve, resume, control, show, report, export.

Standard output is for the answer alone: what a user's own code prints goes to standard error.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.compiler import tell_if_slow
from kingyo.cli.mergekit_flags import Evolve
from kingyo.cli.seeds import breed_seeds, print_spread, same_command
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted, KingyoError

if TYPE_CHECKING:
    from kingyo.run.config import RunConfig
    from kingyo.run.run import Run
    from kingyo.store import RunStore, StoredTrial

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
TRIALS = (
    "12, random:12, parameters:12 (of a hybrid's weights alone) or the name of a baseline, such as uniform"
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(cls=Evolve)(evolve)
    for command in (resume, control, show, report, export):
        app.command()(command)


def evolve(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Argument(
            metavar="RUN.yaml",
            help="What to breed; `kingyo init` writes one. A genome file of mergekit-evolve and its flags "
            "are taken as well.",
        ),
    ],
    run: Annotated[
        Path | None, typer.Option("--run", help="The run folder to make.  \\[default: runs/NAME]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Overrides the file's seed.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, help="Run this many seeds, each in a folder below --run, and report the spread."
        ),
    ] = None,
    max_fevals: Annotated[
        int | None,
        typer.Option("--max-fevals", min=1, help="Candidates, for a genome file.  \\[default: 100]"),
    ] = None,
    task_search_path: Annotated[
        list[Path] | None,
        typer.Option("--task-search-path", help="A folder with tasks, for a genome file; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and what is wrong; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Breed a model: search for the best merge, pick the winner on fit and validation, test it once.

    Progress is stored trial by trial: stop it with Ctrl-C and go on with `kingyo resume`.

    Example: `kingyo evolve run.yaml --dry-run`
    """
    loaded = _load(config, max_fevals, task_search_path or [])  # before the heavy imports
    if seed is not None:
        loaded = loaded.model_copy(update={"seed": seed})
    folder = run or Path("runs") / loaded.name
    if dry_run and seeds is not None:
        raise KingyoError(
            "--seeds",
            expected="no --dry-run beside it, which looks at one run",
            received="both",
            remedy="Leave --seeds out: the dry run of one seed holds for each of them.",
        )
    if dry_run:
        _look(loaded, config.parent, as_json)
    else:
        _begin(loaded, config.parent, folder, context.params)


def _look(config: RunConfig, folder: Path, as_json: bool) -> None:
    """Say what a run would do; nothing is run, written or downloaded but what says what models are."""
    from kingyo.dry_run import dry_run, dry_run_record
    from kingyo.run.run import Run

    with redirect_stdout(sys.stderr):
        found = dry_run(Run.open(config, folder, fetch=False))
    if as_json:
        print_json(dry_run_record(found))
    else:
        from kingyo.cli.dry_run import print_dry_run

        print_dry_run(found)


def _begin(config: RunConfig, folder: Path, run: Path, given: Mapping[str, object]) -> None:
    """Begin a run, or several; ``given`` are the options of the command."""
    from kingyo.run.begin import begin
    from kingyo.run.run import Run

    as_json, seeds = bool(given["as_json"]), given["seeds"]
    if not as_json:
        echo(f"Checking models and data of {config.name}…", err=True)  # large libraries take seconds

    def begun(one: RunConfig, where: Path, seeds: Path | None = None) -> Run:
        with redirect_stdout(sys.stderr):
            return begin(Run.open(one, folder), where, seeds=seeds, file=Path(str(given["config"])))

    if isinstance(seeds, int):
        again = same_command("evolve", given)
        breed_seeds(config, run, seeds, begun, partial(_breed, quiet=as_json, again=again))
        print_spread(run, as_json)
        return
    with begun(config, run) as new:
        _go(new.begun, as_json, new)


def _load(path: Path, max_fevals: int | None, task_search_path: list[Path]) -> RunConfig:
    """Read a run.yaml, or a genome file of mergekit-evolve; a typing error is answered at once."""
    from kingyo.io.yaml import read_yaml
    from kingyo.run.config_file import load_config
    from kingyo.run.mergekit_evolve import is_genome_file, load_genome_file

    data = read_yaml(path)
    if "merge_method" in data:
        raise KingyoError(
            str(path),
            expected="a run.yaml, which says what to search",
            received="a recipe, which says how to merge",
            remedy=f"Say `kingyo merge {shlex.quote(str(path))} OUT`. `kingyo init` writes a run.yaml.",
        )
    if is_genome_file(data):
        found = load_genome_file(path, max_fevals=max_fevals, task_search_path=task_search_path)
        for note in found.notes:
            echo(f"Note: {note}", err=True)
        return found.config
    given = {"--max-fevals": max_fevals is not None, "--task-search-path": bool(task_search_path)}
    for flag in (flag for flag, is_given in given.items() if is_given):
        raise KingyoError(
            flag,
            expected="a genome file of mergekit-evolve",
            received=str(path),
            remedy="Say it in the run.yaml: budget.candidates, and task.",
        )
    return load_config(path, data)


def resume(
    run: RunFolder,
    candidates: Annotated[
        str | None,
        typer.Option(
            "--candidates", metavar="+N", help="Try this many more merges; the run may be finished."
        ),
    ] = None,
    item_evaluations: Annotated[
        str | None,
        typer.Option("--item-evaluations", metavar="+N", help="Grade this many more answers in the search."),
    ] = None,
    minutes: Annotated[
        str | None, typer.Option("--minutes", metavar="+M", help="Search this many more minutes.")
    ] = None,
    rescore: Annotated[
        bool,
        typer.Option(
            "--rescore",
            help="Score everything again with today's code and versions; a file keeps the old scores.",
        ),
    ] = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="Go on though code or versions changed; show, report and card say so."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was interrupted or killed, to the same winner; or give a run more of its budget.

    With more the search goes on where it ended, its controls follow, and a winner is picked anew. Test that
    was read stays read: a second reading is marked as such.

    If kingyo, a library or code of your own has changed since the run's scores were made, resume stops:
    --rescore scores everything again, and --accept-changes keeps the old scores and goes on.

    Example: `kingyo resume runs/first`, `kingyo resume runs/first --candidates +60`
    """
    from kingyo.cli.resume import (
        amounts,
        differences,
        renew,
        require_one_run,
        require_one_way,
        require_own_database,
    )
    from kingyo.store import RunStore

    given = {"candidates": candidates, "item_evaluations": item_evaluations, "minutes": minutes}
    more = amounts(given)
    require_one_way(rescore=rescore, accept_changes=accept_changes)
    require_one_run(run, "resume")
    with RunStore.open(run) as store:
        require_own_database(store)
        changed = differences(store)
        if changed is not None:
            echo(f"Note: {changed}", err=True)
        renew(store, rescore=rescore, accept_changes=accept_changes)
        if more:
            from kingyo.run.resume import add_budget

            add_budget(store, more)
        _go(store, as_json)


def control(
    run: RunFolder,
    name: Annotated[str, typer.Argument(metavar="CONTROL", help="random, grid, or trained: a LoRA.")],
    as_json: AsJson = False,
) -> None:
    """Run a control of a finished run: a search of the same cost that its winner is compared with.

    `trained` trains a LoRA on the fit items for as long as the search took (it needs the extra `lora`). A
    search has the trials that it would have had in the run. Interrupted, the same command goes on.

    Example: `kingyo control runs/first random`
    """
    from kingyo.cli.resume import require_one_run, require_own_database
    from kingyo.store import RunStore

    require_one_run(run, "control", name)
    with RunStore.open(run) as store:
        require_own_database(store)
        from kingyo.run.resume import add_control

        if add_control(store, name):
            _go(store, as_json)
            return
        echo(f"This run's control {name} is done.", err=True)
        _print_summary(store, as_json)


def show(
    run: RunFolder,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial", metavar="TRIAL", help=f"Show one trial, its scores and its recipe: {TRIALS}."
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            "--answers", min=1, help="With --trial: show this many of its answers on fit, the worst first."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a run stands, also while it is under way; or the spread over the runs of several seeds.

    Below it stands what to know of the run and what to do about it.

    Example: `kingyo show runs/first --trial 3 --answers 5`
    """
    from kingyo.run.seed_runs import seed_folders
    from kingyo.store import RunStore

    if answers is not None and trial is None:
        raise KingyoError(
            "--answers",
            expected="a trial whose answers are shown",
            received="no --trial",
            remedy="Name one, such as --trial 0.",
        )
    if seed_folders(run) and trial is None:
        print_spread(run, as_json)
        return
    with RunStore.read(run) as store:
        if trial is None:
            _print_summary(store, as_json)
        else:
            _print_trial(store, trial, answers, as_json)


def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file to write.  \\[default: RUN/report.html]")
    ] = None,
) -> None:
    """Write the report: one HTML file that needs no network, and pictures.

    Example: `kingyo report runs/first`
    """
    from kingyo.cli.advice import tell_lost
    from kingyo.cli.resume import require_one_run
    from kingyo.report import write_report
    from kingyo.store import RunStore

    require_one_run(run, "report")
    with RunStore.read(run) as store:
        tell_lost(store)
        echo(f"Wrote {write_report(store, out)}")


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="TRIAL", help=f"One trial: {TRIALS}.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="SEARCH",
            help="The winner of a search: main, random, grid, trained, parameters.",
        ),
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option("--pick", help="With several objectives: knee, or a trial on the front, by its number."),
    ] = None,
    best: Annotated[
        bool,
        typer.Option(
            "--best",
            help="The best of the bred model, the baselines and the winners of controls: the default.",
        ),
    ] = False,
    pipeline: Annotated[
        bool,
        typer.Option(
            "--pipeline/--no-pipeline",
            help="Of a component of a pipeline of diffusers, write the whole pipeline or that alone.",
        ),
    ] = True,
) -> None:
    """Write the best model of a run as an ordinary Hugging Face folder with its recipe and model card.

    It is the bred model, unless a control is better on validation, or the bred model is not ahead of the
    best baseline by a standard error on fit and validation together. Where both score the same on every
    item, it is the bred one.

    Example: `kingyo export runs/first my-model`
    """
    from kingyo.cli.advice import tell_lost, tell_versions
    from kingyo.cli.resume import require_one_run
    from kingyo.export import choose
    from kingyo.export import export as export_run
    from kingyo.run.run import Run
    from kingyo.store import RunStore
    from kingyo.types import GeneratesText

    require_one_run(run, "export", str(out))
    with RunStore.read(run) as store:
        tell_lost(store)
        chosen = choose(store, trial=trial, search=search, pick=pick, best=best)
        written = export_run(store, out, chosen, pipeline=pipeline)
        tell_versions(store, "exported")
        _say_which(store, chosen, written, is_default=trial is None and search is None)
        if GeneratesText in Run.stored(store).kind.provides:
            echo(f"Try it: kingyo chat {shlex.quote(str(written))}")


def _say_which(store: RunStore, chosen: StoredTrial, out: Path, *, is_default: bool) -> None:
    """Say which model was written, and why where it is the best of the run and not the bred one."""
    from kingyo.evolution import BASELINES, MAIN
    from kingyo.results.model_result import MIXTURES
    from kingyo.results.remarks import beside_baselines, better_than_bred
    from kingyo.results.summary import summarize
    from kingyo.results.trials import describe_trial

    is_copy = chosen.search == BASELINES and chosen.name not in MIXTURES
    echo(f"Wrote {out}: {describe_trial(chosen)}{', a copy of it' if is_copy else ''}.")
    summary = summarize(store)
    scored = beside_baselines(summary, chosen)
    if scored is not None:
        echo(scored)
    better = better_than_bred(summary) if is_default else None
    if better is not None and chosen.search != MAIN:
        echo(f"{better} `--search main` writes the bred model.")


def _go(store: RunStore, as_json: bool, run: Run | None = None) -> None:
    _breed(store, run, quiet=as_json)
    _print_summary(store, as_json)
    if not as_json:
        folder = shlex.quote(str(store.folder))
        echo(f"\nNext: `kingyo report {folder}` or `kingyo export {folder} OUT`")


def _breed(store: RunStore, run: Run | None, *, quiet: bool, again: str | None = None) -> None:
    """Run to the end; whoever stops it is told to go on by ``again``, or by `kingyo resume`.

    ``run`` is the run of the store, if it is open already.
    """
    from kingyo.cli.advice import tell_lost
    from kingyo.cli.live_display import LiveDisplay, run_shown

    tell_if_slow()
    tell_lost(store)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what stops a job on a server is a Ctrl-C too
    with redirect_stdout(sys.stderr), LiveDisplay(store, quiet=quiet) as display:
        try:
            run_shown(store, run, display)
        except KeyboardInterrupt:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_IGN)  # a second one must not tear the way out
            display.stop()
            raise Interrupted(
                "Interrupted; all that was evaluated is stored. Go on with: "
                f"{again or shlex.join(('kingyo', 'resume', str(store.folder)))}"
            ) from None


def _print_trial(store: RunStore, reference: str, answers: int | None, as_json: bool) -> None:
    from kingyo.cli.advice import tell_lost
    from kingyo.cli.trials import print_trial, trial_record

    tell_lost(store)
    if as_json:
        print_json(trial_record(store, reference, answers))
    else:
        print_trial(store, reference, answers)


def _print_summary(store: RunStore, as_json: bool) -> None:
    from kingyo.advice import advise
    from kingyo.cli.advice import print_advice
    from kingyo.cli.tables import print_summary
    from kingyo.results.summary import summarize

    summary = summarize(store)
    advice = advise(store, summary)
    if as_json:
        record = {**summary.to_json(), "advice": [each.to_json() for each in advice]}
        print_json(record)
    else:
        print_summary(summary)
        print_advice(advice)

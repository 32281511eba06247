"""Commands on a run: evolve, resume, show, report, export.

Standard output is for the answer alone: what a user's own code prints goes to standard error.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import errors_as_json
from kingyo.cli.compiler import tell_if_slow
from kingyo.cli.seeds import breed_seeds, print_spread, same_command
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.config import RunConfig
    from kingyo.store import RunStore

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (evolve, resume, show, report, export):
        app.command()(command)


def evolve(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Argument(
            metavar="RUN.yaml",
            help="What to breed; `kingyo init` writes one. A genome file of mergekit-evolve will do as well.",
        ),
    ],
    run: Annotated[
        Path | None, typer.Option("--run", help="The run folder to make.  \\[default: runs/NAME]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Overrides the file's seed.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, help="Run so many seeds, each in a folder below --run, and report the spread."
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
    """Breed a model: search for the best merge, pick the winner on validation, test it once.

    Progress is stored trial by trial: stop it with Ctrl-C and go on with `kingyo resume`.

    Example: `kingyo evolve run.yaml --dry-run`
    """
    with errors_as_json(as_json):
        loaded = _load(config, max_fevals, task_search_path or [])  # before the heavy imports
        if seed is not None:
            loaded = loaded.model_copy(update={"seed": seed})
        folder = run or Path("runs") / loaded.name
        if dry_run and seeds is not None:
            raise KingyoError(
                "--seeds",
                expected="no --dry-run beside it: that looks at one run",
                received="both",
                remedy="Leave --seeds out; each seed takes what the dry run says.",
            )
        if dry_run:
            _look(loaded, config.parent, as_json)
        else:
            _begin(loaded, config.parent, folder, context.params)


def _look(config: RunConfig, folder: Path, as_json: bool) -> None:
    """Say what a run would do; nothing is run, written or downloaded but what says what models are."""
    from kingyo.outlook import foresee, outlook_record

    with redirect_stdout(sys.stderr):
        found = foresee(config, folder)
    if as_json:
        typer.echo(json.dumps(outlook_record(found), ensure_ascii=False, indent=2))
    else:
        from kingyo.cli.outlook import print_outlook

        print_outlook(found)


def _begin(config: RunConfig, folder: Path, run: Path, given: Mapping[str, object]) -> None:
    """Begin a run, or several; ``given`` are the options of the command."""
    from kingyo.assembly import begin

    as_json, seeds = bool(given["as_json"]), given["seeds"]
    if not as_json:
        typer.echo(f"Checking models and data of {config.name}…", err=True)  # large libraries take seconds

    def begun(one: RunConfig, where: Path, seeds: Path | None = None) -> RunStore:
        with redirect_stdout(sys.stderr):
            return begin(one, folder, where, seeds=seeds)

    if isinstance(seeds, int):
        again = same_command("evolve", given)
        breed_seeds(config, run, seeds, begun, lambda store: _breed(store, quiet=as_json, again=again))
        print_spread(run, as_json)
        return
    with begun(config, run) as store:
        _go(store, as_json)


def _load(path: Path, max_fevals: int | None, task_search_path: list[Path]) -> RunConfig:
    """Read a run.yaml, or a genome file of mergekit-evolve; a typing error is answered at once."""
    from kingyo.config import load_config
    from kingyo.documents import read_yaml
    from kingyo.genome_file import is_genome_file, load_genome_file

    if is_genome_file(read_yaml(path)):
        found = load_genome_file(path, max_fevals=max_fevals, task_search_path=task_search_path)
        for note in found.notes:
            typer.echo(f"Note: {note}", err=True)
        return found.config
    given = {"--max-fevals": max_fevals is not None, "--task-search-path": bool(task_search_path)}
    for flag in (flag for flag, is_given in given.items() if is_given):
        raise KingyoError(
            flag,
            expected="a genome file of mergekit-evolve",
            received=str(path),
            remedy="Say it in the run.yaml: budget.candidates, and task.",
        )
    return load_config(path)


def resume(run: RunFolder, as_json: AsJson = False) -> None:
    """Go on with a run that was interrupted or killed, to the same winner.

    Example: `kingyo resume runs/first`
    """
    from kingyo.store import RunStore

    with errors_as_json(as_json), RunStore.open(run) as store:
        _go(store, as_json)


def show(
    run: RunFolder,
    trial: Annotated[
        int | None,
        typer.Option("--trial", min=0, help="Show one trial, by its number: its scores and its recipe."),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            "--answers", min=1, help="With --trial: show so many of its answers on fit, the worst first."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a run stands, also while it is under way; or the spread over the runs of several seeds.

    Below it stands what to know of the run and what to do about it.

    Example: `kingyo show runs/first --trial 3 --answers 5`
    """
    from kingyo.spread import seed_folders
    from kingyo.store import RunStore

    with errors_as_json(as_json):
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
    from kingyo.report import write_report
    from kingyo.store import RunStore

    with RunStore.read(run) as store:
        typer.echo(f"Wrote {write_report(store, out)}")


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    trial: Annotated[
        int | None, typer.Option("--trial", min=0, help="A trial's number.  \\[default: the winner]")
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option("--pick", help="With several objectives: knee, or a trial on the front, by its number."),
    ] = None,
    share_layers: Annotated[
        bool,
        typer.Option(
            "--share-layers",
            help="Write layers that a path passes several times once, with a file of code that follows it.",
        ),
    ] = False,
) -> None:
    """Write the bred model as an ordinary Hugging Face folder with its recipe and model card.

    Example: `kingyo export runs/first my-model`
    """
    from kingyo.export import export as export_run
    from kingyo.export import picked
    from kingyo.merge.shared import CODE_FILE
    from kingyo.store import RunStore

    with RunStore.read(run) as store:
        chosen = trial if pick is None else picked(store, pick, trial)
        written = export_run(store, out, chosen, share_layers=share_layers)
    is_shared = share_layers and (written / CODE_FILE).is_file()
    if share_layers and not is_shared:
        typer.echo("The path passes each layer once, unscaled: this is an ordinary checkpoint, without code.")
    trust = " --trust-remote-code" if is_shared else ""
    typer.echo(f"Wrote {written}. Try it: kingyo chat {shlex.quote(str(written))}{trust}")


def _go(store: RunStore, as_json: bool) -> None:
    _breed(store, quiet=as_json)
    _print_summary(store, as_json)
    if not as_json:
        folder = shlex.quote(str(store.folder))
        typer.echo(f"\nNext: kingyo report {folder}   |   kingyo export {folder} OUT")


def _breed(store: RunStore, *, quiet: bool, again: str | None = None) -> None:
    """Run to the end; whoever stops it is told to go on by ``again``, or by `kingyo resume`."""
    from kingyo.assembly import assemble
    from kingyo.cli.advice import Watcher
    from kingyo.cli.live import LiveDisplay

    tell_if_slow()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what stops a job on a server is a Ctrl-C too
    with redirect_stdout(sys.stderr), LiveDisplay(store, quiet=quiet) as display:
        try:
            assemble(store, Watcher(store, display.tell, display.notify).notify).run()
        except KeyboardInterrupt:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_IGN)  # a second one must not tear the way out
            display.stop()
            typer.echo(
                "Interrupted; all that was evaluated is stored. Go on with: "
                f"{again or shlex.join(('kingyo', 'resume', str(store.folder)))}",
                err=True,
            )
            raise typer.Exit(130) from None


def _print_trial(store: RunStore, number: int, answers: int | None, as_json: bool) -> None:
    from kingyo.cli.trials import print_trial, trial_record

    if as_json:
        typer.echo(json.dumps(trial_record(store, number, answers), ensure_ascii=False, indent=2))
    else:
        print_trial(store, number, answers)


def _print_summary(store: RunStore, as_json: bool) -> None:
    from kingyo.advice import advise
    from kingyo.cli.advice import print_advice
    from kingyo.cli.tables import print_summary
    from kingyo.summary import summarize

    summary = summarize(store)
    advice = advise(store, summary)
    if as_json:
        record = {**summary.to_json(), "advice": [each.to_json() for each in advice]}
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
    else:
        print_summary(summary)
        print_advice(advice)

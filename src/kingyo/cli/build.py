"""Commands on a recipe: merge."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.compiler import tell_if_slow
from kingyo.cli.evaluate import AllowPickle
from kingyo.cli.mergekit_flags import Merge
from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted, KingyoError, error_record, told
from kingyo.io.units import counted

_MOST_NAMED = 3  # tensors

if TYPE_CHECKING:
    from kingyo.engine.options import MergeRequest
    from kingyo.engine.preflight import PlannedOutput, Preflight


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(cls=Merge)(merge)


def merge(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE.yaml", help="A recipe as mergekit writes them, or several in one file."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="For random methods; overrides the recipe's.")
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option("--max-shard-size", help="Where a new file of weights begins.")
    ] = "5GB",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="How many threads compute.  \\[default: all cores]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the folder OUT, with all in it.")] = False,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Go on where weights are NaN or infinite.")
    ] = False,
    copy_code: Annotated[
        bool, typer.Option("--copy-code", help="Copy the Python files beside the config. They are not run.")
    ] = False,
    ignore_licences: Annotated[
        bool, typer.Option("--ignore-licences", help="Merge models whose licences forbid it.")
    ] = False,
    component: Annotated[
        str | None,
        typer.Option(
            "--component",
            metavar="NAME",
            help="Merge this component, such as unet, of pipelines of diffusers that the recipe names whole.",
        ),
    ] = None,
    pipeline: Annotated[
        bool,
        typer.Option(
            "--pipeline",
            help="Write the whole pipeline of diffusers around a component, not that alone.",
        ),
    ] = False,
    allow_pickle: AllowPickle = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and all that is wrong; write nothing.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --dry-run: a line for every tensor.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Merge models by a recipe, files to files. Stop it at any time: the same command goes on.

    The flags of mergekit-yaml and mergekit-multi are taken as well.

    Example: `kingyo merge recipe.yaml merged --dry-run`
    """
    made: list[dict[str, object]] = []
    with errors_beside(made) if as_json else nullcontext():
        if verbose and not dry_run:
            echo("Warning: --verbose has no effect without --dry-run.", err=True)
        from kingyo.engine import MergeOptions
        from kingyo.engine.options import MergeRequest
        from kingyo.io.units import parse_size

        options = MergeOptions(
            seed=seed,
            max_shard_bytes=parse_size(max_shard_size, "--max-shard-size"),
            threads=threads,
            force=force,
            allow_nonfinite=allow_nonfinite,
            copy_code=copy_code,
            ignore_licences=ignore_licences,
            component=component,
            pipeline=pipeline,
            allow_pickle=allow_pickle,
        )
        request = MergeRequest(recipe=recipe, out=out, options=options)
        if dry_run:
            _look(request, verbose=verbose, as_json=as_json)
        else:
            _make(request, made, as_json=as_json)


@contextmanager
def errors_beside(made: Sequence[Mapping[str, object]]) -> Generator[None]:
    """Print an error as JSON, beside the models that were written before it, and end with its exit code."""
    try:
        yield
    except (KingyoError, Interrupted) as error:
        record = error_record(error if isinstance(error, KingyoError) else str(error))
        print_json({**record, "targets": list(made)})
        sys.exit(error.exit_code)  # no typer.Exit, after which `main` would tell of an interrupt again


def _look(request: MergeRequest, *, verbose: bool, as_json: bool) -> None:
    """Say what would be done; exit code 1 when it could not be."""
    from kingyo.engine.preflight import check_merge, estimate
    from kingyo.engine.preflight.record import preflight_record

    tell_if_slow()
    found = check_merge(request, fetch=False)
    estimated = estimate(found) if found.targets else None
    if as_json:
        record = preflight_record(found, estimated, verbose=verbose)
        print_json({**_error_of(found), **record})
    else:
        from kingyo.cli.merge_plan import print_plan

        print_plan(found, estimated, verbose=verbose)
    if found.error is not None:
        raise typer.Exit(1)


def _error_of(found: Preflight) -> Mapping[str, object]:
    """Everything wrong, as the error of a command that fails; empty when nothing is."""
    return {} if found.error is None else error_record(found.error)


def _make(request: MergeRequest, made: list[dict[str, object]], *, as_json: bool) -> None:
    """Merge; what was written is added to ``made``, target by target."""
    from kingyo.engine.preflight import check_merge
    from kingyo.engine.preflight.record import findings_record, target_record
    from kingyo.engine.write import finish

    begun = time.monotonic()
    found = check_merge(request, fetch=False)
    if found.error is None and found.n_missing:  # only what can be merged is worth to be fetched
        found = check_merge(request)
    if found.error is not None and as_json:
        record = {"targets": list[object](), **findings_record(found.findings)}
        print_json({**_error_of(found), **record})
        raise typer.Exit(1)
    if found.error is not None:
        raise found.error
    tell_if_slow()
    for warning in found.of("warning"):
        echo(f"Warning: {warning.error}", err=True)
    for target in found.targets:
        broken = _write(found, target, quiet=as_json)
        seconds = time.monotonic() - begun
        made.append({**target_record(target), "seconds": round(seconds, 3), "nonfinite": broken})
        if broken:
            echo(f"Warning: {_told_broken(broken, len(target.plan.jobs))}", err=True)
        if not as_json:
            echo(_told(target, seconds))
        begun = time.monotonic()
    finish(found)
    if as_json:
        record = {"targets": made, **findings_record(found.findings)}
        print_json(record)


def _write(found: Preflight, target: PlannedOutput, *, quiet: bool) -> list[str]:
    """Write a model; return its tensors that hold NaN or infinity, where these are allowed."""
    from kingyo.cli.progress import MergeProgress
    from kingyo.engine.write import write

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what stops a job on a server is a Ctrl-C too
    with MergeProgress(target.out.name or str(target.out), quiet=quiet) as progress:
        try:
            write(found, target, progress)
        except KeyboardInterrupt:
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_IGN)  # a second one must not tear the way out
            progress.stop()
            n_shards = len(target.shards)
            finished = (
                n_shards if progress.finished == n_shards else target.n_kept
            )  # one may be just complete
            raise Interrupted(_interrupted(finished, n_shards)) from None
        return sorted(progress.nonfinite)


def _told_broken(tensors: list[str], n: int) -> str:
    names = told(tensors, _MOST_NAMED)
    verb = "holds" if n == 1 else "hold"
    return (
        f"{len(tensors)} of {counted(n, 'tensor')} {verb} NaN or infinity, as --allow-nonfinite "
        f"allows: {names}."
    )


def _interrupted(finished: int, shards: int) -> str:
    if not finished:
        hint = " (with a smaller --max-shard-size the first is complete earlier)" if shards else ""
        return f"Interrupted before a file of weights was complete{hint}; nothing is left behind."
    if finished == shards:
        return "Interrupted; all files of weights are complete. The same command adds the rest."
    return (
        f"Interrupted with {finished} of {counted(shards, 'file')} of weights complete. The same command "
        f"goes on from file {finished + 1}."
    )


def _told(target: PlannedOutput, seconds: float) -> str:
    from kingyo.io.units import size_text, time_text

    what = f"{counted(len(target.plan.jobs), 'tensor')} by {target.plan.recipe.merge_method}"
    return f"Wrote {target.out}: {what}, {size_text(target.n_bytes)} in {time_text(seconds)}."

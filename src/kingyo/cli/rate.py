"""The command ``rate``: people as graders."""

from __future__ import annotations

import getpass
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AsJson, RunFolder
from kingyo.cli.rating_page import Address, has_browser, serve
from kingyo.cli.run import require_one_run
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.types import SPLITS, Split

if TYPE_CHECKING:
    from kingyo.rating.session import SessionSettings
    from kingyo.store import RunStore

_LONGEST_NAME = 80


def rate(
    run: RunFolder,
    split: Annotated[
        str, typer.Option("--split", help="Whose pictures: validation, test (of a finished run), or fit.")
    ] = "validation",
    pairs: Annotated[
        int, typer.Option("--pairs", min=1, help="Pairs to judge, with those of earlier sessions.")
    ] = 200,
    rater: Annotated[
        str | None, typer.Option("--rater", help="Your name.  \\[default: the name of the login]")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to serve the page on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    results: Annotated[bool, typer.Option("--results", help="Show what people chose, and end.")] = False,
    train: Annotated[
        Path | None,
        typer.Option("--train", metavar="FILE", help="Train a preference model from the choices, and end."),
    ] = None,
    features: Annotated[
        str, typer.Option("--features", help="With --train: the network that describes pictures.")
    ] = "efficientnet-lite0",
    as_json: AsJson = False,
) -> None:
    """Judge pairs of pictures of a run in the browser; names of models are hidden.

    Keys: left and right arrow choose, up is "as good", down or s skips, u undoes.
    Each choice is stored at once. Ctrl-C stops; the same command goes on. It works
    while the run is going on, and several people can rate one run.

    --results shows strengths of the models with intervals. --train writes a
    preference model, which the grader `preference` of a task uses.

    Example: `kingyo rate runs/pictures --pairs 100`
    """
    from kingyo.store import RunStore

    require_one_run(run)
    _require_one_mode(as_json=as_json, results=results, train=train)
    with RunStore.read(run) as store:
        if results:
            _show_results(store, as_json=as_json)
        elif train is not None:
            _train(store, train, features, as_json=as_json)
        else:
            address = Address(host=host, port=port, opens_browser=not no_browser and has_browser())
            serve(store, _settings(store, split, rater, pairs), address)


def _require_one_mode(*, as_json: bool, results: bool, train: Path | None) -> None:
    if results and train is not None:
        raise KingyoError(
            "--train", expected="no --results with it", received="both", remedy="Leave out one of them."
        )
    if as_json and not results and train is None:
        raise KingyoError(
            "--json", expected="--results or --train with it", received="neither", remedy="Add --results."
        )


def _settings(store: RunStore, split: str, rater: str | None, pairs: int) -> SessionSettings:
    from kingyo.rating.session import SessionSettings

    name = " ".join((_login() if rater is None else rater).split())
    if not 0 < len(name) <= _LONGEST_NAME:
        raise KingyoError(
            "--rater",
            expected=f"a name of 1 to {_LONGEST_NAME} characters",
            received=repr(name)[:80],
            remedy="Give the name under which your choices are stored.",
        )
    return SessionSettings(rater=name, split=_split(store, split), pairs=pairs, title=str(store.fact("name")))


def _login() -> str:
    with suppress(OSError, KeyError, ImportError):  # no account, as in some containers
        return getpass.getuser()
    return "someone"


def _split(store: RunStore, name: str) -> Split:
    """Return a split whose pictures people may see now: test only when the run is finished."""
    splits: dict[str, Split] = {each: each for each in SPLITS}
    split = splits.get(name)
    if split is None:
        raise KingyoError(
            "--split", expected=" or ".join(SPLITS), received=f"'{name}'", remedy="Name one of them."
        )
    if split == "test" and store.status() != "finished":
        raise KingyoError(
            "--split test",
            expected="a finished run",
            received=f"a run that is {store.status()}",
            remedy=f"Finish it with `kingyo resume {shlex.quote(str(store.folder))}`, or rate validation.",
        )
    return split


def _show_results(store: RunStore, *, as_json: bool) -> None:
    from kingyo.cli.rating_tables import print_ratings
    from kingyo.rating.results import read_ratings
    from kingyo.results.summarize import summarize

    ratings = read_ratings(store, summarize(store))
    if as_json:
        print_json({"run": str(store.folder), "people": {each.split: each.to_json() for each in ratings}})
    elif ratings:
        print_ratings(ratings)
    else:
        echo(f"This run has no choices yet. Begin with `kingyo rate {shlex.quote(str(store.folder))}`.")


def _train(store: RunStore, out: Path, features: str, *, as_json: bool) -> None:
    from kingyo.rating.training import train_preference

    report = train_preference(store, out, features)
    if as_json:
        print_json(report.to_json())
        return
    for line in report.lines():
        echo(line)
    echo(f"Wrote {out}. Use it as a grader of a task: `preference: {{model: {out}}}`")

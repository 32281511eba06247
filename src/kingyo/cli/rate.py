"""The command ``rate``: people as graders."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.options import AsJson, RunFolder
from kingyo.cli.output import echo, print_json
from kingyo.cli.run import print_ratings, require_one_run
from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS, Split
from kingyo.errors import KingyoError, unknown_name_error

if TYPE_CHECKING:
    from kingyo.store import RunStore
    from kingyo.views.rating.server import SessionSettings

_LONGEST_NAME = 80


def rate(
    run: RunFolder,
    split: Annotated[
        str, typer.Option("--split", help="Whose images: validation, test (of a finished run), or fit.")
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
        str, typer.Option("--features", help="With --train: the network that describes images.")
    ] = "efficientnet-lite0",
    as_json: AsJson = False,
) -> None:
    """Judge pairs of images of a run in the browser; names of models are hidden.

    Keys: left and right arrow choose, up is "as good", down or s skips, u undoes.
    Each choice is stored at once. Ctrl-C stops; the same command goes on. It works
    while the run is going on, and several people can rate one run.

    --results shows strengths of the models with intervals. --train writes a
    preference model, which the grader `preference` of a task uses.

    Example: `kingyo rate runs/pictures --pairs 100`
    """
    from kingyo.store import RunStore
    from kingyo.views.rating.results import read_ratings
    from kingyo.views.results.plain_data import plain_data
    from kingyo.views.results.summary import summarize

    require_one_run(run)
    if results and train is not None:
        raise KingyoError("--train", "no --results with it", "both", "Leave out one of them.")
    if as_json and not results and train is None:
        raise KingyoError("--json", "--results or --train with it", "neither", "Add --results.")
    with RunStore.read(run) as store:
        if results:
            ratings = read_ratings(store, summarize(store))
            if as_json:
                people = {each.split: plain_data(each) for each in ratings}
                print_json({"run": str(store.folder), "people": people})
            elif ratings:
                print_ratings(ratings)
            else:
                folder = shlex.quote(str(store.folder))
                echo(f"This run has no choices yet. Begin with `kingyo rate {folder}`.")
        elif train is not None:
            from kingyo.views.rating.training import train_preference

            report = train_preference(store, train, features)
            if as_json:
                print_json(plain_data(report))
                return
            for line in report.lines():
                echo(line)
            echo(f"Wrote {train}. Use it as a grader of a task: `preference: {{model: {train}}}`")
        else:
            settings = _settings(store, split, rater, pairs)
            _serve(store, settings, host, port, opens_browser=not no_browser and _has_browser())


def _settings(store: RunStore, split: str, rater: str | None, pairs: int) -> SessionSettings:
    """Return the settings of a session; images of test are shown only when the run is finished."""
    from kingyo.views.rating.server import SessionSettings

    if rater is None:
        rater = "someone"
        with suppress(OSError, KeyError, ImportError):  # no account, as in some containers
            rater = getpass.getuser()
    name = " ".join(rater.split())
    if not 0 < len(name) <= _LONGEST_NAME:
        remedy = "Give the name under which your choices are stored."
        raise KingyoError("--rater", f"a name of 1 to {_LONGEST_NAME} characters", repr(name)[:80], remedy)
    splits: dict[str, Split] = {each: each for each in SPLITS}
    if split not in splits:
        raise unknown_name_error("--split", split, SPLITS)
    if split == "test" and store.status() != "finished":
        remedy = f"Finish it with `kingyo resume {shlex.quote(str(store.folder))}`, or rate validation."
        raise KingyoError("--split test", "a finished run", f"a run that is {store.status()}", remedy)
    return SessionSettings(rater=name, split=splits[split], pairs=pairs, title=str(store.fact("name")))


def _serve(store: RunStore, settings: SessionSettings, host: str, port: int, *, opens_browser: bool) -> None:
    from kingyo.store.side_databases import ChoiceLog
    from kingyo.views.rating.pairs import require_models
    from kingyo.views.rating.server import RatingServer, RatingSession

    models = require_models(store, settings.split)
    items = {item.id: item for item in store.items()[settings.split]}
    with ChoiceLog(store.folder) as log:
        session = RatingSession(settings=settings, models=models, items=items, log=log)
        with RatingServer(session, host, port) as server:
            most = max(len(model.images) for model in models)
            of = f"{counted(len(models), 'model')} with up to {counted(most, 'image')} on {settings.split}"
            judged = f"{settings.rater} has judged {session.n_judged()} of {settings.pairs} pairs."
            echo(f"{settings.title}: {of}. {judged}")
            echo(f"Rate at {server.url}")
            if not server.is_local:
                echo(f"Others use an address of this machine, port {server.server_port} and the same path.")
            echo("Ctrl-C stops; every choice is stored at once.")
            if opens_browser:
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            with suppress(KeyboardInterrupt):
                server.serve_forever(poll_interval=0.1)
        folder, n = shlex.quote(str(store.folder)), session.n_judged()
        echo(f"\n{settings.rater} has judged {n} of {settings.pairs} pairs, stored in {log.path}.")
        echo(f"Next: `kingyo rate {folder}` goes on, `kingyo rate {folder} --results` shows strengths")


def _has_browser() -> bool:
    """Return whether a browser with a window can be opened, not one that takes over the terminal."""
    has_window = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_window and sys.stdout is not None and sys.stdout.isatty()

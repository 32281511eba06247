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

from kingyo.cli.options import Between, Positive
from kingyo.cli.output import echo
from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS, Split
from kingyo.errors import KingyoError, unknown_name_error

if TYPE_CHECKING:
    from kingyo.store import RunStore
    from kingyo.views.rating.server import SessionSettings

_LONGEST_NAME = 80


def rate(
    run: Path,
    *,
    split: str = "validation",
    pairs: Positive = 200,
    rater: str | None = None,
    host: str = "127.0.0.1",
    port: Annotated[int, Between(0, 65535)] = 0,
    train: Path | None = None,
    features: str = "efficientnet-lite0",
) -> None:
    """Judge pairs of images of a run in the browser; names of models are hidden.

    Keys: left and right arrow choose, up is "as good", down or s skips, u undoes.
    Each choice is stored at once. Ctrl-C stops; the same command goes on. It works
    while the run is going on, and several people can rate one run.

    `kingyo show` then has strengths of the models with intervals. --train writes a
    preference model, which the grader `preference` of a task uses.

    Example: `kingyo rate runs/pictures --pairs 100`

    Args:
        split: whose images: validation, test (of a finished run), or fit.
        pairs: pairs to judge, with those of earlier sessions.
        rater: your name. Default: the name of the login.
        host: address to serve the page on.
        port: port; 0 takes a free one.
        train (FILE): train a preference model from the choices, and end.
        features: with --train: the network that describes images.
    """
    from kingyo.runs.seed_runs import require_one_run
    from kingyo.store import RunStore

    require_one_run(run)
    with RunStore.read(run) as store:
        if train is None:
            _serve(store, _settings(store, split, rater, pairs), host, port)
            return
        from kingyo.views.rating.training import train_preference

        for line in train_preference(store, train, features).lines():
            echo(line)
        echo(f"Wrote {train}. Use it as a grader of a task: `preference: {{model: {train}}}`")


def _settings(store: RunStore, split: str, rater: str | None, pairs: int) -> SessionSettings:
    from kingyo.views.rating.server import SessionSettings

    if rater is None:
        rater = "someone"
        with suppress(OSError, KeyError, ImportError):  # no account, as in some containers
            rater = getpass.getuser()
    name = " ".join(rater.split())[:_LONGEST_NAME] or "someone"
    splits: dict[str, Split] = {each: each for each in SPLITS}
    if split not in splits:
        raise unknown_name_error("--split", split, SPLITS)
    if split == "test" and store.status() != "finished":
        remedy = f"Finish it with `kingyo resume {shlex.quote(str(store.folder))}`, or rate validation."
        raise KingyoError("--split test", "a finished run", f"a run that is {store.status()}", remedy)
    return SessionSettings(rater=name, split=splits[split], pairs=pairs, title=str(store.fact("name")))


def _serve(store: RunStore, settings: SessionSettings, host: str, port: int) -> None:
    from kingyo.store.side_databases import ChoiceLog
    from kingyo.views.rating.pairs import require_models
    from kingyo.views.rating.server import RatingServer, RatingSession

    models = require_models(store, settings.split)
    items = {item.id: item for item in store.items()[settings.split]}
    with ChoiceLog(store.folder) as log:
        session = RatingSession(settings=settings, models=models, items=items, log=log)
        with RatingServer(session, host, port) as server:
            echo(f"{settings.title}: {counted(len(models), 'model')} with images on {settings.split}.")
            echo(f"Rate at {server.url}")
            if not server.is_local:
                echo(f"Others use an address of this machine, port {server.server_port} and the same path.")
            echo("Ctrl-C stops; every choice is stored at once.")
            if _has_browser():
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            with suppress(KeyboardInterrupt):
                server.serve_forever(poll_interval=0.1)
        judged = f"{settings.rater} has judged {session.n_judged()} of {settings.pairs} pairs"
        echo(f"\n{judged}, stored in {log.path}.")
        echo(f"Next: `kingyo show {shlex.quote(str(store.folder))}` has strengths; the same command goes on")


def _has_browser() -> bool:
    """Return whether a browser with a window can be opened, not one that takes over the terminal."""
    has_window = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_window and sys.stdout is not None and sys.stdout.isatty()

"""Serve the page of ``kingyo rate`` until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kingyo.cli.terminal import echo
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.rating.server import RatingServer
    from kingyo.rating.session import RatingSession, SessionSettings
    from kingyo.store import RunStore
    from kingyo.store.choices import ChoiceLog


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address of the page, and whether to open it in a browser."""

    host: str
    port: int
    opens_browser: bool


def serve(store: RunStore, settings: SessionSettings, address: Address) -> None:
    """Serve the page until Ctrl-C."""
    from kingyo.rating.models import require_models
    from kingyo.rating.server import RatingServer
    from kingyo.rating.session import RatingSession
    from kingyo.store.choices import ChoiceLog

    models = require_models(store, settings.split)
    items = {item.id: item for item in store.items()[settings.split]}
    with ChoiceLog(store.folder) as log:
        session = RatingSession(settings=settings, models=models, items=items, log=log)
        with RatingServer(session, address.host, address.port) as server:
            _announce(server, address)
            _run_until_stopped(server)
        _print_progress(store, session, log)


def _announce(server: RatingServer, address: Address) -> None:
    settings = server.session.settings
    pictures = {model.name: len(model.pictures) for model in server.session.models}
    echo(
        f"{settings.title}: {counted(len(pictures), 'model')} with up to "
        f"{counted(max(pictures.values()), 'picture')} on {settings.split}. "
        f"{settings.rater} has judged {server.session.n_judged()} of {settings.pairs} pairs."
    )
    echo(f"Rate at {server.url}")
    if not server.is_local:
        echo(f"Others use an address of this machine, port {server.server_port} and the same path.")
    echo("Ctrl-C stops; every choice is stored at once.")
    if address.opens_browser:
        threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()


def has_browser() -> bool:
    """Return whether a browser with a window can be opened, not one that takes over the terminal."""
    has_window = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_window and sys.stdout is not None and sys.stdout.isatty()


def _run_until_stopped(server: RatingServer) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.1)


def _print_progress(store: RunStore, session: RatingSession, log: ChoiceLog) -> None:
    folder, n = shlex.quote(str(store.folder)), session.n_judged()
    echo(
        f"\n{session.settings.rater} has judged {n} of {session.settings.pairs} pairs, stored in {log.path}."
    )
    echo(f"Next: `kingyo rate {folder}` goes on, `kingyo rate {folder} --results` shows strengths")

"""A rating session: one person's pairs, choices, undo and progress, on a page that this machine serves.

Every address begins with a random token, so other users of the machine and other pages in the browser
cannot read images or choose. The Host header is checked (DNS rebinding), and writes come from the page's
own origin. No part of an address is used as a path.
"""

import ipaddress
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from secrets import compare_digest, token_urlsafe
from socketserver import TCPServer
from threading import Lock
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from kingyo.core.types import Item, Split
from kingyo.errors import KingyoError
from kingyo.store.side_databases import ChoiceLog, StoredChoice, Verdict
from kingyo.views.rating.pairs import Pair, PairChooser, RatedModel

_PAGE = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_JSON = "application/json"
_LONGEST_BODY = 4096
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY = ("0.0.0.0", "")


class UnknownPairError(LookupError):
    """A pair that this session has not shown."""


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """The settings of a rating session."""

    rater: str
    split: Split
    pairs: int
    title: str


@dataclass(kw_only=True)
class RatingSession:
    """Shows pairs and stores choices. Threads may call all methods."""

    settings: SessionSettings
    models: Sequence[RatedModel]
    items: Mapping[str, Item]
    log: ChoiceLog
    _shown: dict[str, Pair] = field(default_factory=dict[str, Pair], init=False)
    _restored: Pair | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def state(self) -> dict[str, object]:
        """Return the progress and the pair to judge as JSON data; no name of a model is in it."""
        with self._lock:
            return self._state()

    def choose(self, pair: str, verdict: Verdict, seconds: float) -> dict[str, object]:
        """Store a choice, and return the next state. A choice that is sent twice counts once."""
        with self._lock:
            shown = self.pair(pair)
            if self._key(shown) == pair:  # not one that was undone later
                self.log.add(shown.judged(verdict, self.settings.rater, self.settings.split, seconds))
                self._restored = None
            return self._state()

    def undo(self) -> dict[str, object]:
        """Take back the person's last choice, and return the state with its pair."""
        with self._lock:
            choice = self.log.undo(self.settings.rater, self.settings.split)
            if choice is not None:
                self._restored = self._chooser.restore(choice)
            return self._state()

    def pair(self, key: str) -> Pair:
        """Return a pair that was shown."""
        if key not in self._shown:
            raise UnknownPairError(key)
        return self._shown[key]

    def n_judged(self) -> int:
        with self._lock:
            return len(self._own(self.log.choices()))

    @property
    def _chooser(self) -> PairChooser:
        return PairChooser(models=self.models, rater=self.settings.rater)

    def _state(self) -> dict[str, object]:
        choices = [each for each in self.log.choices() if each.split == self.settings.split]
        own = self._own(choices)
        n = len(own)
        if self._restored is not None and self._restored.name in {each.pair for each in own}:
            self._restored = None  # judged in another session of the person
        pair = self._restored or (self._chooser.next(choices) if n < self.settings.pairs else None)
        shown: dict[str, object] | None = None
        if pair is not None:
            key = self._key(pair)
            self._shown[key] = pair
            shown = {"id": key, "prompt": self.items[pair.item].prompt}
        return {
            "title": self.settings.title,
            "rater": self.settings.rater,
            "judged": n,
            "pairs": self.settings.pairs,
            "pair": shown,
        }

    def _own(self, choices: Sequence[StoredChoice]) -> list[StoredChoice]:
        own = (self.settings.rater, self.settings.split)
        return [each for each in choices if (each.rater, each.split) == own]

    def _key(self, pair: Pair) -> str:
        """Return a name for the page, new after each undo, so that a late repeat of a choice is ignored."""
        return f"{pair.name}-{self.log.undone(self.settings.rater, pair.name)}"


class RefusedRequestError(Exception):
    """A request that is not answered with content."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RatingServer(ThreadingHTTPServer):
    """Serves one session; ``serve_forever`` runs until ``shutdown``."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # Windows would share the port between two sessions

    def __init__(self, session: RatingSession, host: str = "127.0.0.1", port: int = 0) -> None:
        self.session = session
        self.token = token_urlsafe(16)
        self.host = host
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            expected = "an address of this machine with a free port"
            received = f"{host} port {port}: {error.strerror or error}"
            remedy = "Leave them out, or name others."
            raise KingyoError("--host and --port", expected, received, remedy) from error

    def server_bind(self) -> None:
        """Bind without a look-up of the host's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore connections that a browser closed; print a traceback of anything else."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(cast(Any, request), client_address)

    @property
    def url(self) -> str:
        name = _LOOPBACK[1] if self.host in _ANY else self.host
        host = f"[{name}]" if ":" in name else name
        return f"http://{host}:{self.server_port}/{self.token}/"

    @property
    def is_local(self) -> bool:
        return self.host in _LOOPBACK

    def accepts_host(self, header: str | None) -> bool:
        """Return whether a Host header names this server: never by a name that its DNS could change."""
        try:
            parts = urlsplit(f"//{header or ''}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        if port != self.server_port or name in (*_LOOPBACK, self.host.lower()):
            return port == self.server_port
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self.is_local


class _Choice(BaseModel):
    pair: str
    choice: Verdict
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "kingyo"
    sys_version = ""
    timeout = 600

    @property
    def _rating(self) -> RatingServer:
        return cast(RatingServer, self.server)

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        pass  # the terminal shows the progress

    def _answer(self, respond: Callable[[str], tuple[bytes, str]]) -> None:
        try:
            content, kind = respond(self._place())
            status = HTTPStatus.OK
        except RefusedRequestError as refusal:
            self.close_connection = True  # its body may not have been read
            content, kind, status = _as_json({"error": str(refusal)}), _JSON, refusal.status
        except KingyoError as error:
            content, kind, status = _as_json({"error": str(error)}), _JSON, HTTPStatus.INTERNAL_SERVER_ERROR
        self.send_response(status)
        sent = {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}
        for name, value in (sent | ({"Connection": "close"} if self.close_connection else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _place(self) -> str:
        if not self._rating.accepts_host(self.headers.get("Host")):
            raise RefusedRequestError(HTTPStatus.FORBIDDEN, "The Host header names another server.")
        token, slash, place = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not slash or not compare_digest(token.encode(), self._rating.token.encode()):
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, "Use the address that `kingyo rate` printed.")
        return place

    def _get(self, place: str) -> tuple[bytes, str]:
        if place in _PAGE:
            name, kind = _PAGE[place]
            return files("kingyo.views.rating").joinpath(name).read_bytes(), kind
        if place == "state":
            return _as_json(self._rating.session.state()), _JSON
        key, _, side = place.partition("/")
        try:
            media = self._rating.session.pair(key).images[side]
        except (UnknownPairError, KeyError):
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, "There is no such page or pair.") from None
        return media.read(), media.type

    def _post(self, place: str) -> tuple[bytes, str]:
        session, origin = self._rating.session, self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers.get('Host')}":
            raise RefusedRequestError(HTTPStatus.FORBIDDEN, "Another page may not choose.")
        if self.headers.get_content_type() != _JSON:
            raise RefusedRequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        is_short = length.isascii() and length.isdigit() and len(length) <= len(str(_LONGEST_BODY))
        if not is_short or int(length) > _LONGEST_BODY:
            raise RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_LONGEST_BODY} bytes")
        body = self.rfile.read(int(length))
        if place == "undo":
            return _as_json(session.undo()), _JSON
        if place != "choice":
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, "There is no such page.")
        try:
            given = _Choice.model_validate_json(body)
            return _as_json(session.choose(given.pair, given.choice, given.seconds)), _JSON
        except ValidationError:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "expected {pair, choice, seconds}") from None
        except UnknownPairError:
            refusal = "This pair was not shown; reload the page."
            raise RefusedRequestError(HTTPStatus.CONFLICT, refusal) from None


def _as_json(record: Mapping[str, object]) -> bytes:
    return json.dumps(record).encode()

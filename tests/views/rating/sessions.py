"""A rating session in a process of its own, and a client that speaks HTTP to it."""

import json
import os
import re
import signal
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tests.cli.forked import forked

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True, kw_only=True)
class Client:
    """A browser's part of the conversation, with a connection for each request."""

    url: str

    @property
    def place(self) -> SplitResult:
        return urlsplit(self.url)

    def ask(
        self, path: str, body: object = None, headers: Mapping[str, str] = {}, method: str | None = None
    ) -> Answer:
        """Send a request below the token, or anywhere with a path that begins with a slash."""
        sent = path if path.startswith("/") else self.place.path + path
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {} if body is None else JSON
        verb = method or ("GET" if body is None else "POST")
        with closing(HTTPConnection(str(self.place.hostname), self.place.port, timeout=30)) as connection:
            connection.request(verb, sent, content, {**kind, **headers})
            with connection.getresponse() as answer:
                return Answer(status=answer.status, headers=dict(answer.getheaders()), content=answer.read())

    def state(self) -> Any:
        return self.ask("state").json

    def choose(self, pair: str, choice: str = "left") -> Any:
        answer = self.ask("choice", {"pair": pair, "choice": choice, "seconds": 0.5})
        assert answer.status == 200, answer.content
        return answer.json


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process of ``kingyo rate``."""

    process: BaseProcess
    out: Path
    err: Path

    def client(self) -> Client:
        return Client(url=self.url)

    def end(self, sent: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, sent)
        self.process.join(30)

    @property
    def url(self) -> str:
        deadline = time.monotonic() + 60
        while not (self.out.exists() and (match := re.search(r"http://\S+/\n", self.out.read_text()))):
            assert self.process.exitcode is None, self.err.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return match.group().strip()


@contextmanager
def rating(run: Path, *arguments: str) -> Generator[Running]:
    """Begin ``kingyo rate RUN``; it is killed in the end."""
    words = ["rate", str(run), "--rater", "ann", *arguments]
    with forked(words, run.parent, {**os.environ, "OMP_NUM_THREADS": "1"}) as (process, (out, err)):
        yield Running(process=process, out=out, err=err)

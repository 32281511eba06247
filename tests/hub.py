"""A local Hub that answers the requests for listing and downloading models."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_COMMIT = re.compile("[0-9a-f]{40}")


class Hub:
    """Models in folders ``org/name``, the same at every commit that is asked for.

    Attributes:
        address: where it listens.
        sent: how many bytes of each file were sent, by its path.
    """

    def __init__(self, root: Path, address: str) -> None:
        self.root = root
        self.address = address
        self.sent: dict[str, int] = {}

    def files(self, model: str) -> dict[str, Path]:
        """The files of a model by their names in it; none of a model that is not there."""
        folder = self.root / model
        return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}

    def n_sent(self, suffix: str) -> int:
        """Bytes that were sent of files that end so."""
        return sum(n for file, n in self.sent.items() if file.endswith(suffix))

    def environment(self, home: Path) -> dict[str, str]:
        """Return the environment variables for the Hub's address and cache."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@contextmanager
def serve(root: Path) -> Generator[Hub]:
    """Serve the models in a folder."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            parts = urlsplit(self.path).path.strip("/").split("/")
            if parts[:2] == ["api", "models"] and hub.files("/".join(parts[2:4])):
                commit = next(filter(_COMMIT.fullmatch, parts[4:]), COMMIT)
                self._tell("/".join(parts[2:4]), commit, is_tree="tree" in parts)
            elif len(parts) > 4 and parts[2] == "resolve":
                commit = parts[3] if _COMMIT.fullmatch(parts[3]) else COMMIT
                self._send("/".join(parts[:2]), "/".join(parts[4:]), commit, body=body)
            else:
                self._json({"error": "Repository not found"}, 404)

        def _tell(self, model: str, commit: str, *, is_tree: bool) -> None:
            files = {name: file.stat().st_size for name, file in hub.files(model).items()}
            if is_tree:
                entries = [
                    {"type": "file", "path": name, "size": size, "oid": sha1(name.encode()).hexdigest()}
                    for name, size in files.items()
                ]
                self._json(entries)
                return
            siblings = [{"rfilename": name, "size": size} for name, size in files.items()]
            self._json({"id": model, "sha": commit, "siblings": siblings, "private": False, "tags": []})

        def _send(self, model: str, name: str, commit: str, *, body: bool) -> None:
            file = hub.files(model).get(name)
            if file is None:
                self._json({"error": "Entry not found"}, 404)
                return
            size, asked = file.stat().st_size, self.headers.get("Range")
            first, last = 0, size - 1
            if asked:
                begin, _, end = asked.removeprefix("bytes=").partition("-")
                first, last = int(begin), min(int(end or last), last)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("ETag", f'"{sha1(str(file).encode()).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            if body:
                with file.open("rb") as stream:  # it may have a header, and holes in place of weights
                    stream.seek(first)
                    self.wfile.write(stream.read(last + 1 - first))
                path = f"{model}/{name}"
                hub.sent[path] = hub.sent.get(path, 0) + last + 1 - first

        def _json(self, answer: object, code: int = 200) -> None:
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub = Hub(root, f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()

"""A local Hub that answers the requests for listing and downloading models."""

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import cast
from urllib.parse import parse_qs, urlencode, urlsplit

from kingyo.merging.lineage import read_front_matter

OPEN = """
import sys
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.errors import KingyoError
tensor, *references = sys.argv[1:]
for reference in references:
    try:
        opened = open_checkpoint(reference, allow_pickle=reference.startswith("org/old"))
        print(float(opened.read(tensor)[0]))
    except KingyoError as error:
        print(error)
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODIFIED = "2026-01-02T03:04:05.000Z"
PAGE = 2
"""Models on a page of a listing."""
_COMMIT = re.compile("[0-9a-f]{40}")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Hub:
    """Models in folders ``org/name``, the same at every commit that is asked for.

    Attributes:
        address: where it listens.
        sent: how many bytes of each file were sent, by its path.
        ranges: whether it sends the parts of files that requests ask for; else it sends them whole.
        refusals: statuses of the next answers to requests for listings; those of 429 say when to come back.
        listings: the queries of the listings that were asked for.
    """

    def __init__(self, root: Path, address: str) -> None:
        self.root = root
        self.address = address
        self.sent: dict[str, int] = {}
        self.ranges = True
        self.refusals: list[int] = []
        self.listings: list[str] = []

    def files(self, model: str) -> dict[str, Path]:
        folder = self.root / model
        return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}

    def about(self, model: str) -> dict[str, object]:
        """What a listing says of a model, from its card and its config."""
        files = self.files(model)
        card = dict(read_front_matter(self.root / model / "README.md"))
        bases = cast("str | list[str]", card.get("base_model") or [])
        adapter = files.get("adapter_config.json")
        relation = "adapter" if adapter else "finetune"
        config = json.loads(files["config.json"].read_text()) if "config.json" in files else {}
        if adapter:
            config["peft"] = json.loads(adapter.read_text())
        return {
            "id": model,
            "sha": COMMIT,
            "lastModified": MODIFIED,
            "private": False,
            "tags": [
                f"base_model:{relation}:{each}" for each in ([bases] if isinstance(bases, str) else bases)
            ],
            "cardData": card,
            "config": config,
            "siblings": [{"rfilename": name, "size": file.stat().st_size} for name, file in files.items()],
        }

    def n_sent(self, suffix: str) -> int:
        return sum(n for file, n in self.sent.items() if file.endswith(suffix))

    def environment(self, home: Path) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@contextmanager
def serve(root: Path) -> Generator[Hub]:
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
            if parts == ["api", "models"]:
                self._list()
            elif parts[:2] == ["api", "models"] and hub.files("/".join(parts[2:4])):
                commit = next(filter(_COMMIT.fullmatch, parts[4:]), COMMIT)
                self._tell("/".join(parts[2:4]), commit, is_tree="tree" in parts)
            elif len(parts) > 4 and parts[2] == "resolve":
                commit = parts[3] if _COMMIT.fullmatch(parts[3]) else COMMIT
                self._send("/".join(parts[:2]), "/".join(parts[4:]), commit, body=body)
            else:
                self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

        def _tell(self, model: str, commit: str, *, is_tree: bool) -> None:
            files = {name: file.stat().st_size for name, file in hub.files(model).items()}
            if is_tree:
                entries = [
                    {"type": "file", "path": name, "size": size, "oid": sha1(name.encode()).hexdigest()}
                    for name, size in files.items()
                ]
                self._json(entries)
                return
            self._json(hub.about(model) | {"sha": commit})

        def _list(self) -> None:
            """Answer a page of the models with all tags of the filter."""
            query = parse_qs(urlsplit(self.path).query)
            hub.listings.append(urlsplit(self.path).query)
            if hub.refusals:
                code = hub.refusals.pop(0)
                self._json({"error": "refused"}, code, {"Retry-After": "0"} if code == 429 else {})
                return
            wanted, start = set(query.get("filter", [])), int(query.get("cursor", ["0"])[0])
            names = sorted(f"{each.parent.name}/{each.name}" for each in hub.root.glob("*/*"))
            found = [each for each in map(hub.about, names) if wanted <= {*cast("list[str]", each["tags"])}]
            more = urlencode(query | {"cursor": [str(start + PAGE)]}, doseq=True)
            link = {"Link": f'<{hub.address}/api/models?{more}>; rel="next"'}
            self._json(found[start : start + PAGE], 200, link if start + PAGE < len(found) else {})

        def _send(self, model: str, name: str, commit: str, *, body: bool) -> None:
            file = hub.files(model).get(name)
            if file is None:
                self._json({"error": "Entry not found"}, 404)
                return
            size, asked = file.stat().st_size, self.headers.get("Range") if hub.ranges else None
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

        def _json(self, answer: object, code: int = 200, headers: Mapping[str, str] = _NO_HEADERS) -> None:
            content = json.dumps(answer).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
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

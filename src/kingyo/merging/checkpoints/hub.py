"""Get the files of a model or an adapter from the Hub.

Weights are safetensors, or pickles if the user allows them and there is nothing else. Code is never fetched.
For a dry run, weights are not downloaded: their files have the true header and no data. They are sparse, take
no room on the disk, and read as zeros.
"""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from kingyo.core.io.model_names import HUB_NAME, local_path
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS
from kingyo.merging.checkpoints.folder_files import COMPONENT, HALF, PICKLED, has_weights

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_ABOUT = ("README.md", "LICENSE*", "NOTICE*")
_MODEL = ("*.safetensors", *_BESIDE, *_ABOUT)
_ADAPTER = (CONFIG, WEIGHTS, DIFFUSERS_WEIGHTS, *_ABOUT)
_DUPLICATES = "consolidated*"  # the same weights in Mistral's own layout
_SAFETENSORS = "*.safetensors"
_AT_ONCE = 1 << 17  # bytes; most headers are shorter, so that one request is enough
_LONGEST = 100_000_000  # bytes of a header that safetensors allows
_SECONDS = 10.0  # without an answer


@dataclass(frozen=True, kw_only=True)
class Request:
    """A model or an adapter to open; see ``open_checkpoint``."""

    name: str
    revision: str | None
    folder: Path | None
    is_adapter: bool = False
    fetch: bool = True
    allow_pickle: bool = False
    around: Sequence[str] = ()

    @property
    def reference(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    @property
    def path(self) -> Path:
        """The path that a local folder of this name has."""
        return local_path(self.name, self.folder)


def fetch(request: Request) -> tuple[Path, int]:
    """Download the files of a model on the Hub; return its folder, and the bytes of weights still missing.

    Raises:
        OSError, ValueError: the Hub or the network fails.
    """
    parts = HUB_NAME.fullmatch(request.name)
    assert parts is not None, "a name on the Hub"
    name, component = parts["name"], parts["component"]
    wanted, pickled = _patterns(request, component)

    def get() -> tuple[Path, int]:
        preview = None if request.fetch else _preview(name, request.revision, wanted)
        if preview is not None:
            return preview
        return download(name, request.revision, wanted, () if request.fetch else (_SAFETENSORS,)), 0

    root, n_missing = get()
    if component is not None and not request.is_adapter and not _has_weights(request, root / component):
        wanted = (*wanted, f"{component}/{HALF}")
        root, n_missing = get()
    path = root if component is None else root / component
    if request.allow_pickle and not _has_weights(request, path):
        download(name, request.revision, (*wanted, *pickled))
    return path, n_missing


def _patterns(request: Request, component: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Return patterns of the files to fetch from the Hub, and of the pickles if there is no safetensors."""
    wanted, pickled = (_ADAPTER, (PICKLE,)) if request.is_adapter else (_MODEL, PICKLED)
    if component is None:
        return wanted, pickled
    if component.endswith(".safetensors"):
        return (component, *_ABOUT), ()
    own = wanted if request.is_adapter else COMPONENT
    within = [f"{folder}/{pattern}" for folder in (component, *request.around) for pattern in own]
    return (PIPELINE, *_ABOUT, *within), [f"{component}/{pattern}" for pattern in pickled]


def _has_weights(request: Request, path: Path) -> bool:
    if request.is_adapter or path.suffix == ".safetensors":
        return path.is_file() or any((path / name).is_file() for name in (WEIGHTS, DIFFUSERS_WEIGHTS))
    return has_weights(path)


def download(name: str, revision: str | None, wanted: Sequence[str], ignored: Sequence[str] = ()) -> Path:
    """Download files of a model by patterns of their names, and return its folder; cached files stay."""
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    return Path(
        snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(wanted),
            ignore_patterns=[_DUPLICATES, *ignored],
        )
    )


def _preview(name: str, revision: str | None, wanted: Sequence[str]) -> tuple[Path, int] | None:
    """Make a folder with the small files of a model on the Hub, and the headers of its weights.

    Returns:
        Its folder, deleted when the process ends, and the bytes of weights that were not downloaded. None if
        the cache has all weights, or the Hub does not answer (the later download reports why).

    Raises:
        OSError, ValueError: the small files or a header cannot be read.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except Exception:  # noqa: BLE001 - huggingface_hub raises the errors of several libraries
        return None
    try:
        return None if info.sha is None else _read_remote_headers(name, info, wanted)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _read_remote_headers(name: str, info: ModelInfo, wanted: Sequence[str]) -> tuple[Path, int] | None:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    assert info.sha is not None
    missing = {
        each.rfilename: each.size
        for each in info.siblings or ()
        if fnmatch(each.rfilename, _SAFETENSORS)
        and any(fnmatch(each.rfilename, pattern) for pattern in wanted)
        and not fnmatch(each.rfilename, _DUPLICATES)
        and each.size is not None
        and not isinstance(try_to_load_from_cache(name, each.rfilename, revision=info.sha), str)
    }
    if not missing:
        return None
    small = download(name, info.sha, wanted, [*missing])
    root = Path(mkdtemp(prefix="kingyo-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    folder = root / f"models--{name.replace('/', '--')}" / "snapshots" / info.sha
    shutil.copytree(
        small, folder, copy_function=lambda file, link: Path(link).symlink_to(Path(file).resolve())
    )
    for file, size in missing.items():
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a file outside of the model: {file}")
        _write_header(folder / file, hf_hub_url(name, file, revision=info.sha), size)
    return folder, sum(missing.values())


def _write_header(target: Path, url: str, size: int) -> None:
    """Write the header of a file as it is, so that reading it finds what is wrong with it."""
    start = _fetch(url, 0, _AT_ONCE)
    end = 8 + int.from_bytes(start[:8], "little")
    rest = _fetch(url, _AT_ONCE, end) if _AT_ONCE < end <= _LONGEST else b""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        out.write((start + rest)[:end])
        out.truncate(size)


def _fetch(url: str, start: int, end: int) -> bytes:
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
        get_session,
        hf_raise_for_status,
    )

    headers = {**build_hf_headers(), "range": f"bytes={start}-{end - 1}"}
    with get_session().stream("GET", url, headers=headers, timeout=_SECONDS) as response:
        hf_raise_for_status(response)
        first = start if response.status_code == HTTPStatus.PARTIAL_CONTENT else 0  # a proxy may send all
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) >= end - first:
                break
    return bytes(content[start - first : end - first])

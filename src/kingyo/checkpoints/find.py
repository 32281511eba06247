"""Find the folder or the file of a model or an adapter: local, else downloaded from the Hub.

Weights from the Hub are safetensors, or pickles if the user allows them and there is nothing else. Code is
never fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS
from kingyo.checkpoints.folder_files import COMPONENT, HALF, PICKLED, gguf, has_weights, is_file, no_component
from kingyo.checkpoints.model_reference import SINGLE_FILES, is_folder
from kingyo.checkpoints.remote import SAFETENSORS, peek
from kingyo.errors import KingyoError, suggest
from kingyo.io.model_names import HUB_NAME, is_local, local_path
from kingyo.io.pipeline_index import PIPELINE

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_ABOUT = ("README.md", "LICENSE*", "NOTICE*")
_MODEL = ("*.safetensors", *_BESIDE, *_ABOUT)
_ADAPTER = (CONFIG, WEIGHTS, DIFFUSERS_WEIGHTS, *_ABOUT)
_CONFIGS = ("config.json", PIPELINE, "adapter_config.json")
"""Every folder of a model has one of these."""
_DUPLICATES = "consolidated*"  # the same weights in Mistral's own layout


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
        return local_path(self.name, self.folder)


def find(request: Request) -> tuple[Path, int]:
    """Return the folder of a model or an adapter, downloaded from the Hub, and the bytes still missing."""
    name, path = request.name, request.path

    def refuse(expected: str, received: str, remedy: str) -> KingyoError:
        return KingyoError(request.reference, expected, received, remedy)

    if request.revision is not None and is_local(name, request.folder):
        remedy = f"Remove '@{request.revision}': local files and folders have no revisions."
        raise refuse("a revision of a model on the Hub", f"a revision of {path}", remedy)
    if is_folder(name, request.folder):
        return path, 0
    if is_file(path) and path.suffix == ".gguf":
        raise gguf(request.reference, path)
    if is_file(path) and path.suffix in ((".safetensors",) if request.is_adapter else SINGLE_FILES):
        return path, 0
    if is_file(path):
        config = CONFIG if request.is_adapter else "config.json"
        raise refuse(
            "a folder, or a .safetensors", f"a file ({path.name})", f"Name the folder that holds {config}."
        )
    if is_file(path.parent / PIPELINE) and not request.is_adapter:
        raise no_component(request.reference, path)
    on_hub = HUB_NAME.fullmatch(name)
    if on_hub is None or (on_hub["component"] and is_folder(on_hub["name"], request.folder)):
        what = "an adapter" if request.is_adapter else "a checkpoint"
        remedy = _suggest_path(name, path) or f"Correct the path: there is no folder {path}."
        raise refuse(f"a folder with {what}, or a name on the Hub (org/name)", "neither", remedy)
    return _fetch(request)


def _fetch(request: Request) -> tuple[Path, int]:
    parts = HUB_NAME.fullmatch(request.name)
    assert parts is not None
    name, component = parts["name"], parts["component"]
    wanted, pickled = _patterns(request, component)
    try:
        root, n_missing = _download_or_peek(request, name, wanted)
        path = root if component is None else root / component
        if component is not None and not request.is_adapter and not _has_weights(request, path):
            wanted = (*wanted, f"{component}/{HALF}")
            root, n_missing = _download_or_peek(request, name, wanted)
            path = root / component
        if request.allow_pickle and not _has_weights(request, path):
            download(name, request.revision, (*wanted, *pickled))
    except (OSError, ValueError) as error:  # errors of the Hub and of the network are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        local = _suggest_path(request.name, request.path)
        why = "the download fails" if local else f"{type(error).__name__}: {reason[:200]}"
        what = "an adapter" if request.is_adapter else "a model"
        expected = f"a folder, or {what} on the Hub that can be fetched"
        remedy = local or "Correct the path or the name; log in with `hf auth login` if it is not public."
        raise KingyoError(request.reference, expected, f"no folder {request.path}; {why}", remedy) from error
    if component is not None and not path.exists():
        raise no_component(request.reference, path)
    return path, n_missing


def _download_or_peek(request: Request, name: str, wanted: Sequence[str]) -> tuple[Path, int]:
    """Return the folder of a model on the Hub, and the bytes still missing: weights only if requested."""
    preview = None if request.fetch else peek(name, request.revision, wanted, _DUPLICATES)
    if preview is not None:
        return preview
    return download(name, request.revision, wanted, () if request.fetch else (SAFETENSORS,)), 0


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


def _suggest_path(name: str, path: Path) -> str:
    """Return a remedy for a missing folder, from the folders nearby; empty if they give no hint."""
    here = Path(name)
    try:
        if not here.is_absolute() and path != here.absolute() and here.is_dir():
            return f"Write {here.absolute()}: paths are relative to the recipe."
        siblings = [
            each.name for each in path.parent.iterdir() if any((each / file).is_file() for file in _CONFIGS)
        ]
    except (OSError, ValueError):  # no such folder, or an invalid file name
        return ""
    near = suggest(name, (str(here.parent / each) for each in siblings))
    if near.startswith("Did you mean"):
        return near
    return f"Correct the path: {path.parent} has no folder {path.name}." if "/" in name else ""

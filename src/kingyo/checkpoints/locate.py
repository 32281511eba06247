"""Open the checkpoint that a reference names: a local folder, else a model on the Hub.

Weights from the Hub are safetensors, or pickles if the user allows them and there is nothing else. Code is
never fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS
from kingyo.checkpoints.checkpoint import Checkpoint, read_checkpoint
from kingyo.checkpoints.folder_files import (
    COMPONENT,
    HALF,
    PICKLED,
    files_around,
    gguf,
    has_weights,
    is_file,
    no_component,
    parts_of,
    read_json,
    read_weights,
)
from kingyo.checkpoints.lora import adapt
from kingyo.checkpoints.lora_formats import read_adapter
from kingyo.checkpoints.model_reference import HUB_NAME, PIPELINE, is_folder, local_path, parse_reference
from kingyo.checkpoints.remote import peek
from kingyo.errors import KingyoError, suggest

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_ABOUT = ("README.md", "LICENSE*", "NOTICE*")
_MODEL = ("*.safetensors", *_BESIDE, *_ABOUT)
_ADAPTER = (CONFIG, WEIGHTS, DIFFUSERS_WEIGHTS, *_ABOUT)
_CONFIGS = ("config.json", PIPELINE, "adapter_config.json")
"""Every folder of a model has one of these."""
_DUPLICATES = "consolidated*"  # the same weights in Mistral's own layout


@dataclass(frozen=True, kw_only=True)
class _Request:
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
        """The reference as the user wrote it."""
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    @property
    def path(self) -> Path:
        """The path that a local folder of this name has."""
        return local_path(self.name, self.folder)


def open_checkpoint(
    reference: str,
    folder: Path | None = None,
    *,
    fetch: bool = True,
    allow_pickle: bool = False,
    around: Sequence[str] = (),
) -> Checkpoint:
    """Open a checkpoint. A LoRA in the reference is merged into it as it is read.

    Args:
        reference: ``model``, ``model@revision``, ``model+lora`` or ``model@revision+lora@revision``; both are
            folders relative to ``folder``, else names on the Hub: ``org/name``, or ``org/name/unet`` for a
            component of a diffusers pipeline. A LoRA may be a ``.safetensors`` file.
        folder: base of relative paths; the current folder if None.
        fetch: whether to download weights from the Hub; otherwise only their headers (``n_missing``).
        allow_pickle: whether to read weights that exist only as pickles (``pytorch_model.bin``), by
            ``torch.load(weights_only=True)``. Pickles on the Hub are downloaded even without ``fetch``.
        around: for a component, patterns of the other folders of its pipeline to include
            (``Checkpoint.around``), such as ``vae`` and ``text_encoder*``. From the Hub they come without
            pickles.

    Raises:
        KingyoError: the name is neither a folder nor on the Hub, the download fails, or the checkpoint or
            adapter is broken.
    """
    parsed = parse_reference(reference, folder)
    base = str(parsed.base)
    request = _Request(
        name=parsed.model,
        revision=parsed.revision,
        folder=folder,
        fetch=fetch,
        allow_pickle=allow_pickle,
        around=around,
    )
    path, n_missing = _find(request)
    _check_complete(reference, path)
    own = reference if parsed.lora is None else base
    model = read_checkpoint(own, path, allow_pickle=allow_pickle)
    files = files_around(path, around, allow_pickle=allow_pickle) if around else {}
    model = replace(model, n_missing=n_missing, around=files) if n_missing or files else model
    if parsed.lora is None:
        return model
    request = replace(
        request, name=parsed.lora, revision=parsed.lora_revision, is_adapter=True, fetch=True, around=()
    )
    lora, _ = _find(request)
    adapter = read_adapter(reference.removeprefix(f"{base}+"), lora, model, allow_pickle=allow_pickle)
    return adapt(model, adapter, reference)


def _check_complete(reference: str, path: Path) -> None:
    if (path / CONFIG).is_file() and not (path / "config.json").is_file():
        base = read_json(path / CONFIG, "an adapter in peft's format").get("base_model_name_or_path")
        raise KingyoError(
            reference,
            expected="a complete model",
            received="an adapter",
            remedy=f"Write it after its model, as {base or 'model'}+{reference}.",
        )


def _find(request: _Request) -> tuple[Path, int]:
    """Return the folder of a model or an adapter, downloaded from the Hub, and the bytes still missing."""
    name, path = request.name, request.path

    def refuse(expected: str, received: str, remedy: str) -> KingyoError:
        return KingyoError(request.reference, expected=expected, received=received, remedy=remedy)

    if is_folder(name, request.folder):
        if request.revision is not None:
            remedy = f"Remove '@{request.revision}': local folders have no revisions."
            raise refuse("a revision of a model on the Hub", f"a revision of the folder {path}", remedy)
        return path, 0
    if is_file(path) and path.suffix == ".gguf":
        raise gguf(request.reference, path)
    if is_file(path) and request.is_adapter and path.suffix == ".safetensors":
        return path, 0
    if is_file(path):
        config = CONFIG if request.is_adapter else "config.json"
        raise refuse("a folder", "a file", f"Name the folder that holds {config}.")
    if is_file(path.parent / PIPELINE) and not request.is_adapter:
        raise no_component(request.reference, path)
    on_hub = HUB_NAME.fullmatch(name)
    if on_hub is None or (on_hub["component"] and is_folder(on_hub["name"], request.folder)):
        what = "an adapter" if request.is_adapter else "a checkpoint"
        remedy = _suggest_path(name, path) or f"Correct the path: there is no folder {path}."
        raise refuse(f"a folder with {what}, or a name on the Hub (org/name)", "neither", remedy)
    return _fetch(request)


def _fetch(request: _Request) -> tuple[Path, int]:
    parts = HUB_NAME.fullmatch(request.name)
    assert parts is not None
    name, component = parts["name"], parts["component"]
    wanted, pickled = _patterns(request, component)
    try:
        preview = None if request.fetch else peek(name, request.revision, wanted, _DUPLICATES)
        root = _download(name, request.revision, wanted) if preview is None else preview[0]
        path = root if component is None else root / component
        if component is not None and not request.is_adapter and not _has_weights(request, path):
            wanted = (*wanted, f"{component}/{HALF}")
            preview = None if request.fetch else peek(name, request.revision, wanted, _DUPLICATES)
            path = (_download(name, request.revision, wanted) if preview is None else preview[0]) / component
        if request.allow_pickle and not _has_weights(request, path):
            _download(name, request.revision, (*wanted, *pickled))
    except (OSError, ValueError) as error:  # errors of the Hub and of the network are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        local = _suggest_path(request.name, request.path)
        why = "the download fails" if local else f"{type(error).__name__}: {reason[:200]}"
        what = "an adapter" if request.is_adapter else "a model"
        raise KingyoError(
            request.reference,
            expected=f"a folder, or {what} on the Hub that can be fetched",
            received=f"no folder {request.path}; {why}",
            remedy=local or "Correct the path or the name; log in with `hf auth login` if it is not public.",
        ) from error
    if component is not None and not path.exists():
        raise no_component(request.reference, path)
    return path, 0 if preview is None else preview[1]


def _patterns(request: _Request, component: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Return patterns of the files to fetch from the Hub, and of the pickles if there is no safetensors."""
    wanted, pickled = (_ADAPTER, (PICKLE,)) if request.is_adapter else (_MODEL, PICKLED)
    if component is None:
        return wanted, pickled
    if request.is_adapter and component.endswith(".safetensors"):
        return (component, *_ABOUT), ()
    own = wanted if request.is_adapter else COMPONENT
    within = [f"{folder}/{pattern}" for folder in (component, *request.around) for pattern in own]
    return (PIPELINE, *_ABOUT, *within), [f"{component}/{pattern}" for pattern in pickled]


def _has_weights(request: _Request, path: Path) -> bool:
    if request.is_adapter:
        return path.is_file() or any((path / name).is_file() for name in (WEIGHTS, DIFFUSERS_WEIGHTS))
    return has_weights(path)


def _download(name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    return Path(
        snapshot_download(name, revision=revision, allow_patterns=list(wanted), ignore_patterns=_DUPLICATES)
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


def whole_pipeline(
    checkpoint: Checkpoint, folder: Path | None = None, *, fetch: bool = True, allow_pickle: bool = False
) -> Mapping[str, Path]:
    """Return the files of the pipeline around a component, by name; downloaded if it is on the Hub.

    Raises:
        KingyoError: the model is not a component, or the pipeline lacks folders or weights that its index
            lists.
    """
    stored = _stored(checkpoint)
    if stored.pipeline is None:
        raise KingyoError(
            stored.reference,
            expected="a component of a diffusers pipeline",
            received="a model without a pipeline",
            remedy="Remove --pipeline.",
        )
    parts = parts_of(stored.pipeline_index)
    others = {name: is_model for name, is_model in parts.items() if name != stored.path.absolute().name}
    opened = open_checkpoint(
        stored.reference, folder, fetch=fetch, allow_pickle=allow_pickle, around=[*others]
    )
    files = opened.around
    folders = {name.partition("/")[0] for name in files}
    root = opened.path.absolute().parent
    missing = sorted(
        name
        for name, is_model in others.items()
        if name not in folders or (is_model and not (has_weights(root / name) or _has_pickles(files, name)))
    )
    if missing:
        raise KingyoError(
            stored.reference,
            expected=f"a complete pipeline around it: {', '.join(sorted(parts))}",
            received=f"one without {', '.join(missing)}, or without their weights in safetensors",
            remedy="Complete the pipeline, or write only the component: export with --no-pipeline, merge "
            "without --pipeline.",
        )
    for name, is_model in others.items():
        if is_model and has_weights(root / name):
            read_weights(root / name)  # raises if a shard is missing
    return files


def _stored(checkpoint: Checkpoint) -> Checkpoint:
    """Return the on-disk checkpoint whose folder a virtual checkpoint uses."""
    while checkpoint.made_of:
        parts = checkpoint.made_of
        checkpoint = next((each for each in parts if each.path == checkpoint.path), parts[0])
    return checkpoint


def _has_pickles(files: Mapping[str, Path], name: str) -> bool:
    return any(file.startswith(f"{name}/") and file.endswith(".bin") for file in files)

"""Open the checkpoint that a reference names: a local folder, else a model on the Hub.

Weights from the Hub are safetensors, or pickles if the user allows them and there is nothing else. Code is
never fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
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
    read_config,
    read_json,
)
from kingyo.checkpoints.lora import adapt
from kingyo.checkpoints.lora_formats import read_adapter
from kingyo.checkpoints.model_reference import (
    HUB_NAME,
    PIPELINE,
    SINGLE_FILES,
    in_opening_order,
    is_folder,
    is_local,
    local_path,
    parse_reference,
)
from kingyo.checkpoints.remote import peek
from kingyo.checkpoints.single_file import SingleFile, read_single_file
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
    among: Iterable[Checkpoint] = (),
) -> Checkpoint:
    """Open a checkpoint. A LoRA in the reference is merged into it as it is read.

    Args:
        reference: ``model``, ``model@revision``, ``model+lora`` or ``model@revision+lora@revision``; both are
            folders relative to ``folder``, else names on the Hub: ``org/name``, or ``org/name/unet`` for a
            component of a diffusers pipeline. A LoRA may be a ``.safetensors`` file, and so may a diffusion
            model, of which the denoiser is read.
        folder: base of relative paths; the current folder if None.
        fetch: whether to download weights from the Hub; otherwise only their headers (``n_missing``).
        allow_pickle: whether to read weights that exist only as pickles (``pytorch_model.bin``), by
            ``torch.load(weights_only=True)``. Pickles on the Hub are downloaded even without ``fetch``.
        around: for a component, patterns of the other folders of its pipeline to include
            (``Checkpoint.around``), such as ``vae`` and ``text_encoder*``. From the Hub they come without
            pickles.
        among: opened models, one of which may give a single file its config and folder.

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
    own = reference if parsed.lora is None else base
    if path.is_file():
        model = _open_single_file(own, path, request, among)
        model = replace(model, n_missing=n_missing + model.n_missing)
    else:
        _check_complete(reference, path)
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


def open_together(
    references: Iterable[str],
    folder: Path | None = None,
    *,
    fetch: bool = True,
    allow_pickle: bool = False,
    templates: Collection[str] = (),
    failed: Callable[[str, KingyoError], None] | None = None,
) -> dict[str, Checkpoint]:
    """Open several models; those in diffusers' layout give single files a config and a folder.

    Args:
        references: the models. Single files are opened last.
        folder, fetch, allow_pickle: see ``open_checkpoint``.
        templates: the models that need a config and a folder. A single file gets them from the Hub if no
            other model has them.
        failed: receives models that cannot be opened, with the errors; None raises the first error.
    """
    opened: dict[str, Checkpoint] = {}

    def open_one(reference: str, among: Iterable[Checkpoint]) -> Checkpoint:
        return open_checkpoint(reference, folder, fetch=fetch, allow_pickle=allow_pickle, among=among)

    for reference in in_opening_order(references):
        try:
            model = open_one(reference, opened.values())
            if reference in templates and isinstance(file := model.owner, SingleFile):
                model = open_one(reference, (_default_donor(file),))
            opened[reference] = model
        except KingyoError as error:
            if failed is None:
                raise
            failed(reference, error)
    return opened


def _open_single_file(
    reference: str, file: Path, request: _Request, among: Iterable[Checkpoint]
) -> SingleFile:
    """Open the denoiser in a single file, with the other folders of its donor that a live model needs."""
    model = read_single_file(reference, file, among, allow_pickle=request.allow_pickle)
    if model.donor is None or not request.around:
        return model
    donor = open_checkpoint(
        model.donor.reference,
        request.folder,
        fetch=request.fetch,
        allow_pickle=request.allow_pickle,
        around=request.around,
    )
    return replace(model.with_donor(donor), n_missing=donor.n_missing)


def _default_donor(model: SingleFile) -> Checkpoint:
    """Return the config of a single file from the pipeline on the Hub that diffusers takes it from.

    Raises:
        KingyoError: diffusers knows no such pipeline, or it cannot be downloaded.
    """
    from kingyo.checkpoints.conversion import default_pipeline

    name, component = default_pipeline(model.stored), model.component
    try:
        if name is None:
            raise ValueError("diffusers names no pipeline for it")
        path = _download(name, None, (PIPELINE, f"{component}/config.json")) / component
        config = read_config(model.reference, path)
    except (OSError, ValueError, KingyoError) as error:
        reason = str(error).strip().splitlines()[0]
        raise KingyoError(
            model.reference,
            expected="a model in diffusers' layout beside it, which gives config, VAE and text encoders",
            received=f"none, and those of {name} cannot be fetched: {reason:.120}",
            remedy=f"Add such a model, as base_model, base or a source; or convert the file once: "
            f"DiffusionPipeline.from_single_file({model.file.name!r}).save_pretrained('folder').",
        ) from error
    reference = f"{name}/{component}"
    return Checkpoint(reference=reference, path=path, config=config, tensors=model.tensors)


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
    if component.endswith(".safetensors"):
        return (component, *_ABOUT), ()
    own = wanted if request.is_adapter else COMPONENT
    within = [f"{folder}/{pattern}" for folder in (component, *request.around) for pattern in own]
    return (PIPELINE, *_ABOUT, *within), [f"{component}/{pattern}" for pattern in pickled]


def _has_weights(request: _Request, path: Path) -> bool:
    if request.is_adapter or path.suffix == ".safetensors":
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

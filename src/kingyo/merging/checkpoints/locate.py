"""Open the checkpoint that a reference names: a folder or a file, local or on the Hub, with its LoRA."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kingyo.core.io.model_names import HUB_NAME, is_local, split_revision
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS
from kingyo.merging.checkpoints.checkpoint import Checkpoint, read_checkpoint
from kingyo.merging.checkpoints.folder_files import (
    Request,
    component_error,
    download,
    fetch,
    files_around,
    has_weights,
    is_file,
    parts_of,
    read_config,
    read_weights,
    unread_weights_error,
)
from kingyo.merging.checkpoints.lora import adapt
from kingyo.merging.checkpoints.lora_files import read_adapter
from kingyo.merging.checkpoints.model_reference import (
    SINGLE_FILES,
    is_folder,
    is_single_file,
    parse_reference,
)
from kingyo.merging.checkpoints.single_file import SingleFile, default_pipeline, fits_config, read_single_file


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
            model, whose denoiser is read.
        fetch: whether to download weights from the Hub; otherwise only their headers (``n_missing``).
        allow_pickle: whether to read weights that exist only as pickles (``pytorch_model.bin``), by
            ``torch.load(weights_only=True)``. Pickles on the Hub are downloaded even without ``fetch``.
        around: for a component, patterns of the other folders of its pipeline to include
            (``Checkpoint.around``), such as ``vae``. From the Hub they come without pickles.
        among: opened models, one of which may give a single file its config and folder.
    """
    parsed = parse_reference(reference, folder)
    base = str(parsed.base)
    request = Request(
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
    return add_lora(model, reference.removeprefix(f"{base}+"), folder, allow_pickle=allow_pickle)


def add_lora(
    model: Checkpoint,
    lora: str,
    folder: Path | None = None,
    *,
    fetch: bool = True,
    allow_pickle: bool = False,
) -> Checkpoint:
    """Return an opened model with a LoRA, given by its own reference; without ``fetch`` it reads as zeros."""
    name, revision = split_revision(lora, folder)
    request = Request(
        name=name,
        revision=revision,
        folder=folder,
        is_adapter=True,
        fetch=fetch,
        allow_pickle=allow_pickle,
    )
    path, _ = _find(request)
    adapter = read_adapter(lora, path, model, allow_pickle=allow_pickle)
    return adapt(model, adapter, f"{model.reference}+{lora}")


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
        templates: the models that need a config and a folder. A single file gets them from the Hub if no
            other model has them.
        failed: receives models that cannot be opened, with the errors; None raises the first error.
    """
    opened: dict[str, Checkpoint] = {}

    def open_one(reference: str, among: Iterable[Checkpoint]) -> Checkpoint:
        return open_checkpoint(reference, folder, fetch=fetch, allow_pickle=allow_pickle, among=among)

    for reference in sorted(dict.fromkeys(references), key=is_single_file):  # folders may give them a config
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


def _find(request: Request) -> tuple[Path, int]:
    name, path = request.name, request.path
    what, endings = ("an adapter", SINGLE_FILES[:1]) if request.is_adapter else ("a model", SINGLE_FILES)
    expected = f"a folder or a {endings[0]} with {what}, or a name on the Hub (org/name)"

    def find_error(received: str, remedy: str) -> KingyoError:
        return KingyoError(request.reference, expected, received, remedy)

    if request.revision is not None and is_local(name, request.folder):
        raise find_error(f"'@{request.revision}' of {path}", "Remove it: only the Hub has revisions.")
    if is_folder(name, request.folder) or (is_file(path) and path.suffix in endings):
        return path, 0
    if is_file(path) and path.suffix == ".gguf":
        raise unread_weights_error(request.reference, [path])
    if is_file(path):
        raise find_error(f"the file {path.name}", "Name the folder that holds it.")
    if is_file(path.parent / PIPELINE) and not request.is_adapter:
        raise component_error(request.reference, path.parent, path.name)
    on_hub = HUB_NAME.fullmatch(name)
    if on_hub is None or (on_hub["component"] and is_folder(on_hub["name"], request.folder)):
        raise find_error(f"neither: {path} does not exist", "Correct it; paths are relative to the recipe.")
    try:
        found, n_missing = fetch(request)
    except Exception as error:  # huggingface_hub raises the errors of several libraries
        reason, _, _ = f"{type(error).__name__}: {str(error).strip()}".partition("\n")
        remedy = "Correct the path or the name; log in with `hf auth login` if it is not public."
        raise find_error(f"no folder {path}, and from the Hub {reason:.200}", remedy) from error
    if on_hub["component"] and not found.exists():
        raise component_error(request.reference, found.parent, found.name)
    return found, n_missing


def _open_single_file(
    reference: str, file: Path, request: Request, among: Iterable[Checkpoint]
) -> SingleFile:
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
    name, component = default_pipeline(model.stored), model.component
    try:
        if name is None:
            raise ValueError("diffusers names no pipeline for it")
        path = download(name, None, (PIPELINE, f"{component}/config.json")) / component
        config = read_config(model.reference, path)
        if not fits_config(config, model.tensors):
            raise ValueError("its config is of a model with other tensors")
    except (OSError, ValueError, KingyoError) as error:
        reason = str(error).strip().splitlines()[0]
        raise KingyoError(
            model.reference,
            "a model in diffusers' layout beside it, for its config, VAE and text encoders",
            f"none, and those of {name} on the Hub cannot be used: {reason:.120}",
            f"Add such a model, as base_model, base or a source; or convert the file once: "
            f"DiffusionPipeline.from_single_file({model.file.name!r}).save_pretrained('folder').",
        ) from error
    reference = f"{name}/{component}"
    return Checkpoint(reference=reference, path=path, config=config, tensors=model.tensors)


def _check_complete(reference: str, path: Path) -> None:
    if (path / "config.json").is_file() or (path / PIPELINE).is_file():
        return
    if (path / CONFIG).is_file() or (path / DIFFUSERS_WEIGHTS).is_file():
        remedy = f"Write it after its model, as model+{reference}."
        raise KingyoError(reference, "a complete model", "an adapter", remedy)


def whole_pipeline(
    checkpoint: Checkpoint, folder: Path | None = None, *, fetch: bool = True, allow_pickle: bool = False
) -> Mapping[str, Path]:
    """Return the files of the pipeline around a component, by name; downloaded if it is on the Hub."""
    stored = checkpoint
    while stored.made_of:  # to the checkpoint on disk whose folder a virtual one uses
        parts = stored.made_of
        stored = next((each for each in parts if each.path == stored.path), parts[0])
    stored = stored.owner
    if stored.pipeline is None:
        expected = "a component of a diffusers pipeline"
        raise KingyoError(stored.reference, expected, "a model without a pipeline", "Remove --pipeline.")
    others = parts_of(stored.pipeline_index)
    others.pop(stored.path.absolute().name, None)
    opened = open_checkpoint(
        stored.reference, folder, fetch=fetch, allow_pickle=allow_pickle, around=[*others]
    )
    root = opened.path.absolute().parent
    for name, is_model in others.items():
        files = [file for file in opened.around if file.startswith(f"{name}/")]
        if not files or (is_model and not any(file.endswith((".safetensors", ".bin")) for file in files)):
            expected = f"a complete pipeline around it, with weights in safetensors: {', '.join(others)}"
            remedy = "Complete the pipeline, or write only the component: without --pipeline (export: "
            raise KingyoError(stored.reference, expected, f"one without {name}", f"{remedy}--no-pipeline).")
        if is_model and has_weights(root / name):
            read_weights(root / name)  # raises if a shard is missing
    return opened.around

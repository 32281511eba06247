"""Open the checkpoint that a reference names: a folder or a file, local or on the Hub, with its LoRA."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from kingyo.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS
from kingyo.checkpoints.checkpoint import Checkpoint, read_checkpoint
from kingyo.checkpoints.find import Request, download, find
from kingyo.checkpoints.folder_files import files_around, read_config, read_json
from kingyo.checkpoints.lora import adapt
from kingyo.checkpoints.lora_files import read_adapter
from kingyo.checkpoints.model_reference import in_opening_order, parse_reference
from kingyo.checkpoints.single_file import SingleFile, read_single_file
from kingyo.errors import KingyoError
from kingyo.io.model_names import split_revision
from kingyo.io.pipeline_index import PIPELINE


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
    request = Request(
        name=parsed.model,
        revision=parsed.revision,
        folder=folder,
        fetch=fetch,
        allow_pickle=allow_pickle,
        around=around,
    )
    path, n_missing = find(request)
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
    """Return an opened model with a LoRA, which is merged into it as it is read.

    Args:
        model: the model.
        lora: the reference of the LoRA alone.
        folder, fetch, allow_pickle: see ``open_checkpoint``. Without ``fetch`` the LoRA reads as zeros.
    """
    name, revision = split_revision(lora, folder)
    request = Request(
        name=name,
        revision=revision,
        folder=folder,
        is_adapter=True,
        fetch=fetch,
        allow_pickle=allow_pickle,
    )
    path, _ = find(request)
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
    reference: str, file: Path, request: Request, among: Iterable[Checkpoint]
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
        KingyoError: diffusers knows no such pipeline, it cannot be downloaded, or its config does not fit.
    """
    from kingyo.checkpoints.conversion import default_pipeline, fits_config

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
    has_config = (path / CONFIG).is_file()
    if has_config or (path / DIFFUSERS_WEIGHTS).is_file():
        config = read_json(path / CONFIG, "an adapter in peft's format") if has_config else {}
        base = config.get("base_model_name_or_path")
        remedy = f"Write it after its model, as {base or 'model'}+{reference}."
        raise KingyoError(reference, "a complete model", "an adapter", remedy)

"""Parse model references: ``model``, ``model@revision``, ``model+lora``, ``model@revision+lora@revision``.

Model and LoRA are folders or names on the Hub, which may name a component (``org/name/unet``); a LoRA may be
a file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.core.io.model_names import HUB_NAME, absolute_name, is_local, local_path, split_revision
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE
from kingyo.errors import KingyoError

SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
"""Endings of models in one file."""


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """The parts of a reference; ``str`` joins them."""

    model: str
    revision: str | None = None
    lora: str | None = None
    lora_revision: str | None = None

    def __str__(self) -> str:
        model = _join(self.model, self.revision)
        return model if self.lora is None else f"{model}+{_join(self.lora, self.lora_revision)}"

    @property
    def base(self) -> ModelReference:
        return ModelReference(model=self.model, revision=self.revision)


def parse_reference(text: str, folder: Path | None = None) -> ModelReference:
    """Parse a reference. The name of an existing folder or file is not split at ``+`` or ``@``."""
    if not text.strip():
        raise KingyoError(
            "model", "a folder or a Hub name", "an empty text", "Write the path or the name of a model."
        )
    if is_local(text, folder) or "+" not in text:
        model, revision = split_revision(text, folder)
        return ModelReference(model=model, revision=revision)
    left, right = _split_lora(text, folder)
    (model, revision), (lora, lora_revision) = split_revision(left, folder), split_revision(right, folder)
    return ModelReference(model=model, revision=revision, lora=lora, lora_revision=lora_revision)


def whole_model(reference: str, folder: Path, out: Path | None = None) -> str:
    """Return a reference with absolute paths of local folders and files.

    With ``out``, paths are relative to that folder instead; see ``path_from``.
    """

    def place(name: str) -> str:
        if out is None or not is_local(name, folder):
            return absolute_name(name, folder)
        return path_from(out, name, folder)

    parsed = parse_reference(reference, folder)
    lora = None if parsed.lora is None else place(parsed.lora)
    return str(replace(parsed, model=place(parsed.model), lora=lora))


def with_component(reference: str, component: str, folder: Path | None = None) -> str:
    """Add a component such as ``unet`` to the reference of a pipeline, as in ``org/name/unet@revision``.

    A reference that names a component or a single model is returned unchanged.
    """
    parsed = parse_reference(reference, folder)
    if is_single_file(parsed.model) and not is_folder(parsed.model, folder):
        return reference
    if is_folder(parsed.model, folder):
        is_pipeline = (local_path(parsed.model, folder) / PIPELINE).is_file()
    else:
        on_hub = HUB_NAME.fullmatch(parsed.model)
        is_pipeline = on_hub is not None and on_hub["component"] is None
    return str(replace(parsed, model=f"{parsed.model.rstrip('/')}/{component}")) if is_pipeline else reference


def with_denoiser(reference: str, folder: Path | None = None) -> str:
    """Add the denoiser, ``unet`` or ``transformer``, to the reference of a local pipeline."""
    found = component_references(reference, folder)
    return next((found[name] for name in DENOISERS if name in found), reference)


def component_references(reference: str, folder: Path | None = None) -> dict[str, str]:
    """Return references of a local pipeline's components that have a config.json, by name; else none."""
    root = local_path(parse_reference(reference, folder).model, folder)
    if not (root / PIPELINE).is_file() or (root / "config.json").is_file():
        return {}
    names = [file.parent.name for file in sorted(root.glob("*/config.json"))]
    return {name: with_component(reference, name, folder) for name in names}


def path_from(out: Path, name: str, folder: Path) -> str:
    """Return the path of a local file relative to a folder that may be published, and need not exist.

    If the relative path would pass through the root of the file system or the user's home folder, it would
    reveal the absolute path: the function returns ``name`` then.
    """
    local, start, home = local_path(name, folder.resolve()), out.resolve(), local_path("~").resolve()
    place = Path(os.path.normpath(local))
    if not place.exists() or not place.samefile(local):  # '..' after a link
        place = local.resolve()
    shared = next((each for each in (start, *start.parents) if place.is_relative_to(each)), None)
    if shared is None or shared == shared.parent or (place.is_relative_to(home) and shared in home.parents):
        return name
    relative = Path(os.path.relpath(place, start)).as_posix()
    return relative if relative.startswith(".") else f"./{relative}"


def is_single_file(reference: str) -> bool:
    """Return whether a reference names a file as the model, not as its LoRA."""
    return reference.partition("+")[0].partition("@")[0].endswith(SINGLE_FILES)


def is_folder(name: str, folder: Path | None = None) -> bool:
    return is_local(name, folder) and local_path(name, folder).is_dir()


def _join(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"


def _split_lora(text: str, folder: Path | None) -> tuple[str, str]:
    """Split at the first plus sign after the name of an existing file or folder, else at the first."""
    places = [place for place, sign in enumerate(text) if sign == "+"]
    exists = (place for place in places[1:] if is_local(text[:place], folder))
    place = next(exists, places[0])
    model, lora = text[:place], text[place + 1 :]
    if not model.strip() or not lora.strip():
        raise KingyoError(text, "model+lora", "only one of both", "Add the other, or remove the '+'.")
    return model, lora

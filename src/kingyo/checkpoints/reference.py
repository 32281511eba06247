"""How a model is named: ``model``, ``model@revision``, ``model+lora``, ``model@revision+lora@revision``.

Model and LoRA are folders or names on the Hub, which may name a component (``org/name/unet``); a LoRA may be
a file. It looks whether these exist and reads nothing else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.errors import KingyoError

PIPELINE = "model_index.json"
"""What diffusers writes beside the components of a pipeline."""

HUB_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(/(?P<component>[A-Za-z0-9][\w.-]*))?")
_REVISION = re.compile(r"[\w./-]+")


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """A reference in its parts; ``str`` joins them again.

    Attributes:
        model: a folder, or a name on the Hub, which may name a component of a pipeline (``org/name/unet``).
        revision: branch, tag or commit of a model on the Hub.
        lora: an adapter to be merged into the model: a folder, a file, or a name on the Hub.
        lora_revision: branch, tag or commit of an adapter on the Hub.
    """

    model: str
    revision: str | None = None
    lora: str | None = None
    lora_revision: str | None = None

    def __str__(self) -> str:
        whole = _join(self.model, self.revision)
        return whole if self.lora is None else f"{whole}+{_join(self.lora, self.lora_revision)}"

    @property
    def base(self) -> ModelReference:
        """The model without its adapter."""
        return ModelReference(model=self.model, revision=self.revision)


def parse_reference(text: str, folder: Path | None = None) -> ModelReference:
    """Read a reference. A folder or file that exists wins as it is, whichever signs its name has.

    Args:
        text: what the user wrote.
        folder: where relative paths begin; the current one when None.

    Raises:
        KingyoError: it is empty, a part of it is, or it has several ``+`` and no folder tells which is meant.
    """
    if not text.strip():
        raise KingyoError(
            "model",
            expected="a folder or a Hub name",
            received="an empty text",
            remedy="Fill in the path or the name of a model.",
        )
    if is_local(text, folder) or "+" not in text:
        model, revision = _split_revision(text, folder)
        return ModelReference(model=model, revision=revision)
    left, right = _split_lora(text, folder)
    (model, revision), (lora, lora_revision) = _split_revision(left, folder), _split_revision(right, folder)
    return ModelReference(model=model, revision=revision, lora=lora, lora_revision=lora_revision)


def whole_model(reference: str, folder: Path, out: Path | None = None) -> str:
    """The reference with whole paths of local folders and files, so that it means the same from everywhere.

    Args:
        reference: what the user wrote.
        folder: where its relative paths begin.
        out: write paths as seen from this folder in their place; see ``path_from``.
    """

    def place(name: str) -> str:
        if not is_local(name, folder):
            return name
        return str(local_path(name, folder).resolve()) if out is None else path_from(out, name, folder)

    parsed = parse_reference(reference, folder)
    lora = None if parsed.lora is None else place(parsed.lora)
    return str(replace(parsed, model=place(parsed.model), lora=lora))


def with_component(reference: str, component: str, folder: Path | None = None) -> str:
    """Name a component of a pipeline that a reference names whole, as ``org/name/unet@revision``.

    Args:
        reference: what the user wrote; it stays as it is if it names a component or a folder of one model.
        component: of the pipeline, such as ``unet``.
        folder: where relative paths begin; the current one when None.

    Raises:
        KingyoError: see ``parse_reference``.
    """
    parsed = parse_reference(reference, folder)
    if is_folder(parsed.model, folder):
        is_whole = (local_path(parsed.model, folder) / PIPELINE).is_file()
    else:
        on_hub = HUB_NAME.fullmatch(parsed.model)
        is_whole = on_hub is not None and on_hub["component"] is None
    return str(replace(parsed, model=f"{parsed.model.rstrip('/')}/{component}")) if is_whole else reference


def component_references(reference: str) -> list[str]:
    """Name the components of a pipeline in a local folder that have a config.json; none of anything else."""
    root = local_path(parse_reference(reference).model)
    if not (root / PIPELINE).is_file() or (root / "config.json").is_file():
        return []
    return [
        with_component(reference, each.name)
        for each in sorted(root.iterdir())
        if (each / "config.json").is_file()
    ]


def path_from(out: Path, name: str, folder: Path) -> str:
    """Name a local file in a folder that may be published: by its relative path.

    Where that would lead through the root of the file system or to the name of the user's home, it would be a
    whole path in disguise; the file is named as the user wrote it then.

    Args:
        out: the folder; it need not exist.
        name: of the file, as the user wrote it.
        folder: where relative paths begin.
    """
    local, start, home = local_path(name, folder.resolve()), out.resolve(), local_path("~").resolve()
    place = Path(os.path.normpath(local))
    if not place.exists() or not place.samefile(local):  # '..' behind a link
        place = local.resolve()
    shared = next((each for each in (start, *start.parents) if place.is_relative_to(each)), None)
    if shared is None or shared == shared.parent or (place.is_relative_to(home) and shared in home.parents):
        return name
    relative = Path(os.path.relpath(place, start)).as_posix()
    return relative if relative.startswith(".") else f"./{relative}"


def local_path(name: str, folder: Path | None = None) -> Path:
    """Where a folder of this name would be."""
    try:
        place = Path(name).expanduser()
    except RuntimeError:  # ~ of a user that there is not
        place = Path(name)
    return (folder or Path.cwd()) / place


def is_folder(name: str, folder: Path | None = None) -> bool:
    """Whether there is a folder of this name; a name that no system allows is none."""
    try:
        return local_path(name, folder).is_dir()
    except (OSError, ValueError):  # too long, a NUL
        return False


def is_local(name: str, folder: Path | None = None) -> bool:
    """Whether there is a folder or a file of this name."""
    try:
        return local_path(name, folder).exists()
    except (OSError, ValueError):
        return False


def _join(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"


def _split_lora(text: str, folder: Path | None) -> tuple[str, str]:
    """At the plus sign; of several at the one that parts existing folders."""
    places = [place for place, sign in enumerate(text) if sign == "+"]
    pairs = [(text[:place], text[place + 1 :]) for place in places]
    known = [tuple(_is_known(part, folder) for part in pair) for pair in pairs]
    best = max(sum(each) for each in known)
    likely = [pair for pair, each in zip(pairs, known, strict=True) if sum(each) == best]
    if len(likely) > 1:
        raise KingyoError(
            text,
            expected="one model, or model+lora",
            received=f"{len(places)} plus signs, and no folder that tells which one is meant",
            remedy="Correct the path, or rename the folder without '+'; one LoRA may follow a model.",
        )
    if not all(part.strip() for part in likely[0]):
        raise KingyoError(
            text,
            expected="a model before the '+' and a LoRA behind it",
            received="nothing on one side",
            remedy="Write it as model+lora, or leave the '+' out.",
        )
    return likely[0]


def _is_known(part: str, folder: Path | None) -> bool:
    """Whether a part names something for sure: what exists, or a well-formed Hub name."""
    name, _ = _split_revision(part, folder) if part.strip() else ("", None)
    return bool(name) and (is_local(name, folder) or HUB_NAME.fullmatch(name) is not None)


def _split_revision(text: str, folder: Path | None) -> tuple[str, str | None]:
    """At the first ``@``, where a name on the Hub ends; folders and odd paths stay whole."""
    name, sign, revision = text.partition("@")
    is_hub = HUB_NAME.fullmatch(name) is not None or is_local(name, folder)
    if not sign or is_local(text, folder) or not is_hub:
        return text, None
    if not _REVISION.fullmatch(revision):
        raise KingyoError(
            text,
            expected="a branch, tag or commit behind the '@'",
            received=f"'{revision}'",
            remedy="Write it as org/name@revision, or leave the '@' out.",
        )
    return name, revision

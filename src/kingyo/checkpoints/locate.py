"""From what a user writes to an opened checkpoint: local folders, else names on the Hub.

From the Hub it takes weights in safetensors, configuration and tokenizer; no code and no pickles.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kingyo.checkpoints.adapter import CONFIG, WEIGHTS, read_adapter
from kingyo.checkpoints.checkpoint import Checkpoint, read_checkpoint, read_json
from kingyo.checkpoints.files import gguf
from kingyo.checkpoints.lora import adapt
from kingyo.checkpoints.reference import HUB_NAME, is_folder, local_path, parse_reference
from kingyo.checkpoints.remote import peek
from kingyo.errors import KingyoError, suggest

_MODEL = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.tiktoken",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)
_ADAPTER = (CONFIG, WEIGHTS, "README.md", "LICENSE*", "NOTICE*")
_CONFIGS = ("config.json", "model_index.json", "adapter_config.json")
"""One of these is in every folder that can be named as a model."""
_DOUBLED = "consolidated*"  # the same weights again, in Mistral's own layout


def open_checkpoint(reference: str, folder: Path | None = None, *, fetch: bool = True) -> Checkpoint:
    """Open a checkpoint, with a LoRA merged into it as it is read if the reference names one.

    Args:
        reference: ``model``, ``model@revision``, ``model+lora`` or ``model@revision+lora@revision``; both are
            folders, relative to ``folder``, else names on the Hub (``org/name``).
        folder: where relative paths begin; the current one when None.
        fetch: whether weights are fetched from the Hub; else only what says what they are (``n_missing``).

    Raises:
        KingyoError: it is neither, cannot be fetched, or is not a sound checkpoint or adapter.
    """
    parsed = parse_reference(reference, folder)
    named = str(parsed.base)
    found, n_missing = _find(parsed.model, parsed.revision, folder, is_adapter=False, fetch=fetch)
    _check_whole(reference, found)
    model = read_checkpoint(reference if parsed.lora is None else named, found)
    model = replace(model, n_missing=n_missing) if n_missing else model
    if parsed.lora is None:
        return model
    lora, _ = _find(parsed.lora, parsed.lora_revision, folder, is_adapter=True)
    adapter = read_adapter(reference.removeprefix(f"{named}+"), lora)
    return adapt(model, adapter, reference)


def _check_whole(reference: str, path: Path) -> None:
    if (path / CONFIG).is_file() and not (path / "config.json").is_file():
        named = read_json(path / CONFIG, "an adapter in peft's format").get("base_model_name_or_path")
        raise KingyoError(
            reference,
            expected="a whole model",
            received="an adapter",
            remedy=f"Name it behind its model, as {named or 'model'}+{reference}.",
        )


def _find(
    name: str, revision: str | None, folder: Path | None, *, is_adapter: bool, fetch: bool = True
) -> tuple[Path, int]:
    """The folder of a model or an adapter, and what is missing of its weights; one on the Hub is fetched."""
    path = local_path(name, folder)
    reference = name if revision is None else f"{name}@{revision}"
    if is_folder(name, folder):
        if revision is not None:
            raise KingyoError(
                reference,
                expected="a revision of a model on the Hub",
                received=f"one of the folder {path}",
                remedy=f"Leave '@{revision}' out: a folder is taken as it is.",
            )
        return path, 0
    if _is_file(path) and path.suffix == ".gguf":
        raise gguf(reference, path)
    if _is_file(path):
        raise KingyoError(
            reference,
            expected="a folder",
            received="a file",
            remedy=f"Name the folder that holds {CONFIG if is_adapter else 'config.json'}.",
        )
    if not HUB_NAME.fullmatch(name):
        what = "an adapter" if is_adapter else "a checkpoint"
        raise KingyoError(
            reference,
            expected=f"a folder with {what}, or a name on the Hub (org/name)",
            received="neither",
            remedy=_correct(name, path) or f"Correct the path: there is no folder {path}.",
        )
    return _fetch(name, revision, path, is_adapter=is_adapter, whole=fetch or is_adapter)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no system allows
        return False


def _fetch(name: str, revision: str | None, path: Path, *, is_adapter: bool, whole: bool) -> tuple[Path, int]:
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    wanted, what = (_ADAPTER, "an adapter") if is_adapter else (_MODEL, "a model")
    try:
        peeked = None if whole else peek(name, revision, wanted, _DOUBLED)
        if peeked is not None:
            return peeked
        found = snapshot_download(
            name, revision=revision, allow_patterns=list(wanted), ignore_patterns=_DOUBLED
        )
        return Path(found), 0
    except (OSError, ValueError) as error:  # the Hub's errors, and those of the network below, are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        local = _correct(name, path)
        why = "it cannot be fetched" if local else f"{type(error).__name__}: {reason[:200]}"
        raise KingyoError(
            name if revision is None else f"{name}@{revision}",
            expected=f"a folder, or {what} on the Hub that can be fetched",
            received=f"no folder {path}; {why}",
            remedy=local or "Correct the path or the name; log in with `hf auth login` if it is not public.",
        ) from error


def _correct(name: str, path: Path) -> str:
    """What to do about a folder that is not there, if folders nearby tell; else nothing."""
    here = Path(name)
    try:
        if not here.is_absolute() and path != here.absolute() and here.is_dir():
            return f"Relative paths begin where the recipe is: write {here.absolute()}."
        beside = [
            each.name for each in path.parent.iterdir() if any((each / file).is_file() for file in _CONFIGS)
        ]
    except (OSError, ValueError):  # no such folder, or a name that no system allows
        return ""
    near = suggest(name, (str(here.parent / each) for each in beside))
    if near.startswith("Did you mean"):
        return near
    return f"Correct the path: {path.parent} has no folder {path.name}." if "/" in name else ""

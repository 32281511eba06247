"""From what a user writes to an opened checkpoint: local folders, else names on the Hub.

From the Hub it takes weights in safetensors, configuration and tokenizer; pickles of weights where the user
allows them and there is nothing else; no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.checkpoints.adapter import CONFIG, LOOSE, PICKLE, WEIGHTS, read_adapter
from kingyo.checkpoints.checkpoint import Checkpoint, read_checkpoint, read_json
from kingyo.checkpoints.files import COMPONENT, PICKLED, files_around, gguf, has_weights, no_component
from kingyo.checkpoints.lora import adapt
from kingyo.checkpoints.reference import HUB_NAME, PIPELINE, is_folder, local_path, parse_reference
from kingyo.checkpoints.remote import peek
from kingyo.errors import KingyoError, suggest

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_ABOUT = ("README.md", "LICENSE*", "NOTICE*")
_MODEL = ("*.safetensors", *_BESIDE, *_ABOUT)
_ADAPTER = (CONFIG, WEIGHTS, LOOSE, *_ABOUT)
_CONFIGS = ("config.json", PIPELINE, "adapter_config.json")
"""One of these is in every folder that can be named as a model."""
_DOUBLED = "consolidated*"  # the same weights again, in Mistral's own layout


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A model or an adapter that is asked for; see ``open_checkpoint``."""

    name: str
    revision: str | None
    folder: Path | None
    is_adapter: bool = False
    fetch: bool = True
    allow_pickle: bool = False
    around: Sequence[str] = ()

    @property
    def reference(self) -> str:
        """As the user wrote it."""
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    @property
    def path(self) -> Path:
        """Where a folder of this name would be."""
        return local_path(self.name, self.folder)


def open_checkpoint(
    reference: str,
    folder: Path | None = None,
    *,
    fetch: bool = True,
    allow_pickle: bool = False,
    around: Sequence[str] = (),
) -> Checkpoint:
    """Open a checkpoint, with a LoRA merged into it as it is read if the reference names one.

    Args:
        reference: ``model``, ``model@revision``, ``model+lora`` or ``model@revision+lora@revision``; both are
            folders, relative to ``folder``, else names on the Hub: ``org/name``, or ``org/name/unet`` for a
            component of a pipeline of diffusers. A LoRA may be a ``.safetensors`` file.
        folder: where relative paths begin; the current one when None.
        fetch: whether weights are fetched from the Hub; else only what says what they are (``n_missing``).
        allow_pickle: whether weights that are there only as pickles (``pytorch_model.bin``) are read, by
            ``torch.load(weights_only=True)``. Those on the Hub are fetched whole, whatever ``fetch`` says.
        around: of a component, other folders of its pipeline that belong to it (``Checkpoint.around``), such
            as ``vae`` and ``text_encoder*``. Those on the Hub are fetched, too; of their weights no pickles.

    Raises:
        KingyoError: it is neither, cannot be fetched, or is not a sound checkpoint or adapter.
    """
    parsed = parse_reference(reference, folder)
    named = str(parsed.base)
    asked = _Asked(
        name=parsed.model,
        revision=parsed.revision,
        folder=folder,
        fetch=fetch,
        allow_pickle=allow_pickle,
        around=around,
    )
    found, n_missing = _find(asked)
    _check_whole(reference, found)
    own = reference if parsed.lora is None else named
    model = read_checkpoint(own, found, allow_pickle=allow_pickle)
    beside = files_around(found, around, allow_pickle=allow_pickle) if around else {}
    model = replace(model, n_missing=n_missing, around=beside) if n_missing or beside else model
    if parsed.lora is None:
        return model
    asked = replace(
        asked, name=parsed.lora, revision=parsed.lora_revision, is_adapter=True, fetch=True, around=()
    )
    lora, _ = _find(asked)
    adapter = read_adapter(reference.removeprefix(f"{named}+"), lora, model, allow_pickle=allow_pickle)
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


def _find(asked: _Asked) -> tuple[Path, int]:
    """The folder of a model or an adapter, and what is missing of its weights; one on the Hub is fetched."""
    name, path, reference = asked.name, asked.path, asked.reference
    if is_folder(name, asked.folder):
        if asked.revision is not None:
            raise KingyoError(
                reference,
                expected="a revision of a model on the Hub",
                received=f"one of the folder {path}",
                remedy=f"Leave '@{asked.revision}' out: a folder is taken as it is.",
            )
        return path, 0
    if _is_file(path) and path.suffix == ".gguf":
        raise gguf(reference, path)
    if _is_file(path) and asked.is_adapter and path.suffix == ".safetensors":
        return path, 0
    if _is_file(path):
        raise KingyoError(
            reference,
            expected="a folder",
            received="a file",
            remedy=f"Name the folder that holds {CONFIG if asked.is_adapter else 'config.json'}.",
        )
    if _is_file(path.parent / PIPELINE) and not asked.is_adapter:
        raise no_component(reference, path)
    on_hub = HUB_NAME.fullmatch(name)
    if on_hub is None or (on_hub["component"] and is_folder(on_hub["name"], asked.folder)):
        what = "an adapter" if asked.is_adapter else "a checkpoint"
        raise KingyoError(
            reference,
            expected=f"a folder with {what}, or a name on the Hub (org/name)",
            received="neither",
            remedy=_correct(name, path) or f"Correct the path: there is no folder {path}.",
        )
    return _fetch(asked)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no system allows
        return False


def _fetch(asked: _Asked) -> tuple[Path, int]:
    parts = HUB_NAME.fullmatch(asked.name)
    assert parts is not None
    name, component = parts["name"], parts["component"]
    wanted, pickled = _patterns(asked, component)
    try:
        peeked = None if asked.fetch else peek(name, asked.revision, wanted, _DOUBLED)
        root = _download(name, asked.revision, wanted) if peeked is None else peeked.path
        found = root if component is None else root / component
        if asked.allow_pickle and not _has_weights(asked, found):
            _download(name, asked.revision, (*wanted, *pickled))
    except (OSError, ValueError) as error:  # the Hub's errors, and those of the network below, are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        local = _correct(asked.name, asked.path)
        why = "it cannot be fetched" if local else f"{type(error).__name__}: {reason[:200]}"
        what = "an adapter" if asked.is_adapter else "a model"
        raise KingyoError(
            asked.reference,
            expected=f"a folder, or {what} on the Hub that can be fetched",
            received=f"no folder {asked.path}; {why}",
            remedy=local or "Correct the path or the name; log in with `hf auth login` if it is not public.",
        ) from error
    if component is not None and not found.exists():
        raise no_component(asked.reference, found)
    return found, 0 if peeked is None else peeked.n_missing


def _patterns(asked: _Asked, component: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """The files on the Hub that are wanted, and those that are when there is no safetensors."""
    wanted, pickled = (_ADAPTER, (PICKLE,)) if asked.is_adapter else (_MODEL, PICKLED)
    if component is None:
        return wanted, pickled
    if asked.is_adapter and component.endswith(".safetensors"):
        return (component, *_ABOUT), ()
    own = wanted if asked.is_adapter else COMPONENT
    within = [f"{folder}/{pattern}" for folder in (component, *asked.around) for pattern in own]
    return (PIPELINE, *_ABOUT, *within), [f"{component}/{pattern}" for pattern in pickled]


def _has_weights(asked: _Asked, found: Path) -> bool:
    """Whether they came as safetensors."""
    if asked.is_adapter:
        return found.is_file() or any((found / name).is_file() for name in (WEIGHTS, LOOSE))
    return has_weights(found)


def _download(name: str, revision: str | None, wanted: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    return Path(
        snapshot_download(name, revision=revision, allow_patterns=list(wanted), ignore_patterns=_DOUBLED)
    )


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

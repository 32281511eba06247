"""The files of a checkpoint's folder: which of them hold its weights, and one clear error when none do.

It knows what transformers and diffusers name their files; what is in them is checked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

from kingyo.checkpoints.header import TensorInfo, read_header
from kingyo.checkpoints.pickled import read_pickle
from kingyo.checkpoints.reference import PIPELINE, with_component
from kingyo.errors import KingyoError, suggest

STEMS = ("model", "diffusion_pytorch_model")
"""How files with weights begin: those of transformers, those of diffusers."""

PICKLES = {"model": "pytorch_model", "diffusion_pytorch_model": "diffusion_pytorch_model"}
"""The stems -> how their files begin where they are pickles (.bin)."""

SPEAKING = (
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "chat_template.*",
    "additional_chat_templates/*.jinja",
)
"""The files, beside weights and config, that change what a model says."""
SEEING = (
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
)
"""The files that say how a model sees images."""

COMPONENT = (
    *(f"{stem}{end}" for stem in STEMS for end in (".safetensors", "-*.safetensors")),
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.tiktoken",
)
"""The files of a component of a pipeline of diffusers: of its weights one variant."""
PICKLED = tuple(f"{name}{end}" for name in PICKLES.values() for end in (".bin", "-*.bin"))
"""Files of weights that are pickles."""

_LONGEST = 100_000_000  # bytes of a config or an index
_MEND_INDEX = "Fetch or save the model again: its index and its shards do not belong together."
_WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "FeatureExtractor", "Processor")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_json(file: Path, what: str) -> dict[str, object]:
    """Read a JSON file that holds a mapping.

    Raises:
        KingyoError: it is missing, not JSON, or not a mapping.
    """
    try:
        length = file.stat().st_size
        parsed: object = json.loads(file.read_text(encoding="utf-8")) if length <= _LONGEST else None
    except OSError as error:
        raise KingyoError(
            str(file),
            expected=what,
            received=error.strerror or str(error),
            remedy=f"Name a folder that holds {file.name}, and that you may read.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise KingyoError(
            str(file),
            expected=what,
            received=f"invalid JSON ({error})",
            remedy="Correct the file, or fetch the model again.",
        ) from error
    if length > _LONGEST:
        raise KingyoError(
            str(file),
            expected=what,
            received=f"{length:,} bytes",
            remedy="No such file is that long: fetch the model again.",
        )
    if not isinstance(parsed, dict):
        raise KingyoError(
            str(file),
            expected=what,
            received=type(parsed).__name__,
            remedy="Write it as one JSON object, or fetch the model again.",
        )
    return cast("dict[str, object]", parsed)


def read_config(reference: str, path: Path) -> dict[str, object]:
    """Read the config.json of a checkpoint's folder.

    Args:
        reference: what the user wrote to name it.
        path: the folder.

    Raises:
        KingyoError: there is none, or it is broken. A pipeline of diffusers, an adapter and a GGUF are named.
    """
    if not (path / "config.json").is_file():
        if (path / PIPELINE).is_file():
            raise _pipeline(reference, path)
        if (path / "adapter_config.json").is_file():
            raise KingyoError(
                str(path),
                expected="a whole model",
                received="a LoRA (adapter_config.json)",
                remedy="Name it behind its model: model+lora.",
            )
        if (file := next(path.glob("*.gguf"), None)) is not None:
            raise gguf(str(path), file)
        if (path.parent / PIPELINE).is_file():
            raise no_component(reference, path)
    return read_json(path / "config.json", "a model's config.json")


class _Names(NamedTuple):
    """Names that weights in a folder may have: the stem, the single file, and what reads it."""

    stem: str
    single: str
    read: Callable[[Path], dict[str, TensorInfo]]


_SAFE = [_Names(stem, f"{stem}.safetensors", read_header) for stem in STEMS]
_PICKLED = [_Names(stem, f"{name}.bin", read_pickle) for stem, name in PICKLES.items()]


def read_weights(path: Path, *, allow_pickle: bool = False) -> tuple[str, dict[str, TensorInfo]]:
    """Read the headers of a folder's weights.

    Args:
        path: the folder.
        allow_pickle: read pickles of torch where there is no safetensors; see ``read_pickle``.

    Returns:
        The stem of its files' names, and its tensors in the order of their data.

    Raises:
        KingyoError: there are none, or files that contradict one another.
    """
    for stem, name, read in (*_SAFE, *(_PICKLED if allow_pickle else ())):
        single, index = path / name, path / f"{name}.index.json"
        if single.is_file():  # first, as in transformers, should both be there
            return stem, _require_tensors(read(single), single)
        if index.is_file():
            return stem, _require_tensors(_read_shards(path, index, read), index)
    raise _no_weights(path)


def has_weights(path: Path) -> bool:
    """Return whether a folder has weights in safetensors under a known name."""
    return _is_there(path, _SAFE)


def _is_there(path: Path, names: Iterable[_Names]) -> bool:
    return any((path / f"{each.single}{end}").is_file() for each in names for end in ("", ".index.json"))


def _require_tensors(tensors: dict[str, TensorInfo], file: Path) -> dict[str, TensorInfo]:
    if not tensors:
        raise KingyoError(
            str(file),
            expected="a model's tensors",
            received="none: the model is empty",
            remedy="Save or fetch the model again.",
        )
    return tensors


def _read_shards(
    path: Path, index: Path, read: Callable[[Path], dict[str, TensorInfo]]
) -> dict[str, TensorInfo]:
    named = read_json(index, "an index of shards").get("weight_map")
    if not isinstance(named, dict) or not named:
        raise KingyoError(
            str(index), expected="a weight_map", received="none, or an empty one", remedy=_MEND_INDEX
        )
    weight_map = cast("dict[str, object]", named)
    files = {name: _shard_file(path, index, shard) for name, shard in weight_map.items()}
    found: dict[str, TensorInfo] = {}
    for file in dict.fromkeys(files.values()):
        for name, info in read(file).items():
            if files.get(name) != file:
                raise KingyoError(
                    str(index),
                    expected="every tensor of every shard",
                    received=f"{name} in {file.relative_to(path)}",
                    remedy=_MEND_INDEX,
                )
            found[name] = info
    absent = [name for name in weight_map if name not in found]
    if absent:
        received = f"'{absent[0]}', which {weight_map[absent[0]]} does not hold"
        raise KingyoError(
            str(index), expected="tensors that the shards hold", received=received, remedy=_MEND_INDEX
        )
    return found


def _shard_file(path: Path, index: Path, shard: object) -> Path:
    """The file of a shard: a plain name below the folder, never a way out of it.

    The file itself may be a link to elsewhere: the Hub's cache is made of such links.
    """
    pure = PurePosixPath(shard) if isinstance(shard, str) else PurePosixPath("/")
    suffix = PurePosixPath(index.name.removesuffix(".index.json")).suffix
    if pure.is_absolute() or ".." in pure.parts or "\\" in str(pure) or pure.suffix != suffix:
        raise KingyoError(
            str(index),
            expected="shards inside the folder",
            received=f"{shard!r:.200}",
            remedy=f"Correct the index: it may name {suffix} files below its own folder only.",
        )
    file = path / pure
    try:
        is_there = file.is_file()
    except (OSError, ValueError):  # a name that no system allows
        is_there = False
    if not is_there:
        raise KingyoError(
            str(index),
            expected=f"the shard {shard!r:.200}",
            received="no such file",
            remedy="Put the shard into the folder, or fetch the model again.",
        )
    return file


def _no_weights(path: Path) -> KingyoError:
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    others = sorted(file.name for file in path.glob("*.safetensors"))
    file = next(path.glob("*.gguf"), None)
    if others:
        first = others[0].partition(".")[0]
        name = f"{first if first in STEMS else STEMS[0]}.safetensors"  # of a variant such as fp16
        return KingyoError(
            str(path),
            expected=f"{name} or its index",
            received=f"other weights ({others[0]})",
            remedy=f"Rename {others[0]} to {name} if these are the weights you mean.",
        )
    if pickles:
        is_readable = _is_there(path, _PICKLED)
        allow = "Let it be read by --allow-pickle, in run.yaml `allow_pickle: true`, which runs no code, or "
        flag = allow if is_readable else ""
        return KingyoError(
            str(path),
            expected="weights in safetensors",
            received=f"only pickles ({pickles[0]})",
            remedy=f"{flag or 'Pickles can run code: '}convert it with save_pretrained of a model you trust.",
        )
    if file is not None:
        return gguf(str(path), file)
    return KingyoError(
        str(path),
        expected="model.safetensors or its index",
        received="neither",
        remedy="Name the folder of a whole model, as save_pretrained writes it.",
    )


def gguf(reference: str, file: Path) -> KingyoError:
    """Return the error for a GGUF that is named as a model, by its folder or itself."""
    return KingyoError(
        reference,
        expected="weights in safetensors",
        received=f"a GGUF ({file.name})",
        remedy="Name the model that it was made from: a GGUF's weights are mostly rounded. Or convert it, as "
        "docs/recipes.md says, with the packages gguf and accelerate: AutoModelForCausalLM.from_pretrained("
        f"{str(file.parent)!r}, gguf_file={file.name!r}, quantization_config=GgufConfig(dequantize=True))"
        ".save_pretrained(FOLDER).",
    )


def _pipeline(reference: str, path: Path) -> KingyoError:
    names = _components(path)
    best = next((name for name in ("unet", "transformer", *names) if name in names), "unet")
    return KingyoError(
        reference,
        expected="one model",
        received=f"a pipeline of diffusers: {', '.join(names) or 'without weights in safetensors'}",
        remedy=f"Name one of its models, such as {with_component(reference, best, path.parent)}; or say "
        f"`kingyo merge --component {best}`.",
    )


def no_component(reference: str, path: Path) -> KingyoError:
    """Return the error for a component that a pipeline lacks, or that is no model.

    Args:
        reference: what the user wrote.
        path: where the component's folder would be.
    """
    names = _components(path.parent)
    if not names:
        return KingyoError(
            reference,
            expected=f"a model or a LoRA called '{path.name}' in the repository",
            received="none, and no pipeline of diffusers",
            remedy=f"Leave '/{path.name}' out, or correct it.",
        )
    return KingyoError(
        reference,
        expected=f"a model of the pipeline: {', '.join(names)}",
        received=f"'{path.name}'",
        remedy=suggest(path.name, names),
    )


def _components(pipeline: Path) -> list[str]:
    """The models of a pipeline of diffusers: those that its index names, and folders with weights."""
    index = pipeline / PIPELINE
    stated = read_json(index, "the index of a pipeline") if index.is_file() else {}
    named = {name for name, value in stated.items() if _is_model(value)}
    ends = [f"{each.single}{end}" for each in _SAFE for end in ("", ".index.json")]
    return sorted(named | {file.parent.name for end in ends for file in pipeline.glob(f"*/{end}")})


def files_around(component: Path, folders: Iterable[str], *, allow_pickle: bool) -> dict[str, Path]:
    """Return files of the pipeline around a component, by their names in it, with its index and licence.

    Args:
        component: its folder.
        folders: patterns of the pipeline's other folders, such as ``vae``.
        allow_pickle: whether pickles are among them where a folder has no other weights.
    """
    root = component.absolute().parent
    if not (root / PIPELINE).is_file():
        return {}
    chosen = {each for pattern in folders for each in root.glob(pattern) if each.is_dir()}
    files = [file for pattern in (PIPELINE, "LICENSE*", "NOTICE*") for file in root.glob(pattern)]
    for folder in chosen - {component.absolute()}:
        more = PICKLED if allow_pickle and not has_weights(folder) else ()
        files += [file for pattern in (*COMPONENT, *more) for file in folder.glob(pattern)]
    return {str(file.relative_to(root)): file for file in sorted(files) if file.is_file()}


def parts_of(index: Mapping[str, object]) -> dict[str, bool]:
    """Return the folders that the index of a pipeline names, and whether each holds a model."""
    pairs = {name: cast("list[object]", value) for name, value in index.items() if isinstance(value, list)}
    return {
        name: _is_model(pair) for name, pair in pairs.items() if len(pair) == 2 and isinstance(pair[1], str)
    }


def _is_model(value: object) -> bool:
    """Return whether an entry of a pipeline's index (a library and a class) is a model."""
    pair = cast("list[object]", value) if isinstance(value, list) else []
    return len(pair) == 2 and isinstance(pair[1], str) and not pair[1].endswith(_WITHOUT_WEIGHTS)

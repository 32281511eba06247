"""Find the files of a checkpoint's folder, by the names that transformers and diffusers give them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import cast

from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE, component_classes
from kingyo.core.io.yaml import parse_json
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints.header import TensorInfo, read_header, read_pickle
from kingyo.merging.checkpoints.model_reference import parse_reference

STEMS = ("model", "diffusion_pytorch_model")
"""Prefixes of weight files: of transformers, of diffusers."""

PICKLES = {"model": "pytorch_model", "diffusion_pytorch_model": "diffusion_pytorch_model"}
"""Stem -> prefix of weight files that are pickles (.bin)."""

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
"""Files besides weights and config that change a model's text output."""
SEEING = (
    "preprocessor_config.json",
    "processor_config.json",
    "image_processor_config.json",
    "video_preprocessor_config.json",
)
"""Files that configure how a model's images are processed."""

COMPONENT = (
    *(f"{stem}{end}" for stem in STEMS for end in (".safetensors", "-*.safetensors")),
    "*.json",
    "*.jinja",
    "*.txt",
    "*.model",
    "*.tiktoken",
)
"""Files of a component of a diffusers pipeline, with one variant of its weights."""
HALF = f"{STEMS[1]}.fp16.safetensors"
"""The weights of many components on the Hub that have no others."""
PICKLED = tuple(f"{name}{end}" for name in PICKLES.values() for end in (".bin", "-*.bin"))
"""Weight files that are pickles."""

_WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "FeatureExtractor", "Processor")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_json(file: Path, what: str, parse: Callable[[str], object] = json.loads) -> dict[str, object]:
    """Read a JSON file that holds an object.

    Args:
        file: the file.
        what: a noun phrase for it in errors, such as "a model's config.json".
        parse: the parser; by default the last value of a key that occurs twice counts, as in transformers.
    """

    def json_error(received: str, remedy: str) -> KingyoError:
        return KingyoError(str(file), what, received, remedy)

    try:
        parsed = parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = f"Name a folder with {file.name} that you may read."
        raise json_error(error.strerror or str(error), remedy) from error
    except (ValueError, RecursionError) as error:
        raise json_error(f"invalid JSON ({error})", "Correct the file, or fetch the model again.") from error
    if not isinstance(parsed, dict):
        raise json_error(type(parsed).__name__, "Write it as one JSON object, or fetch the model again.")
    return cast("dict[str, object]", parsed)


def read_config(reference: str, path: Path) -> dict[str, object]:
    """Read the config.json of a checkpoint's folder.

    Raises:
        KingyoError: the file is missing or broken, or the folder is a pipeline or a GGUF.
    """
    if not (path / "config.json").is_file():
        if (path / PIPELINE).is_file():
            raise _pipeline_error(reference, path)
        if (file := next(path.glob("*.gguf"), None)) is not None:
            raise gguf_error(str(path), file)
        if (path.parent / PIPELINE).is_file():
            raise component_error(reference, path)
    return read_json(path / "config.json", "a model's config.json")


_SAFE = [*((stem, f"{stem}.safetensors", read_header) for stem in STEMS), (STEMS[1], HALF, read_header)]
"""Forms of weights in a folder: the stem, the name of a single file, and the reader of its header."""
_PICKLED = [(stem, f"{name}.bin", read_pickle) for stem, name in PICKLES.items()]
_SAFE_NAMES = [f"{single}{end}" for _, single, _ in _SAFE for end in ("", ".index.json")]


def read_weights(path: Path, *, allow_pickle: bool = False) -> tuple[str, dict[str, TensorInfo]]:
    """Read the headers of a folder's weights.

    Returns:
        The stem of the weight files, and the tensors in the order of their data.

    Raises:
        KingyoError: the folder has no weights, or its files contradict one another.
    """
    for stem, name, read in (*_SAFE, *(_PICKLED if allow_pickle else ())):
        single, index = path / name, path / f"{name}.index.json"
        if single.is_file():  # before the index, as in transformers
            return stem, require_tensors(read(single), single)
        if index.is_file():
            return stem, require_tensors(_read_shards(path, index, read), index)
    raise _no_weights_error(path)


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def has_weights(path: Path) -> bool:
    return any((path / name).is_file() for name in _SAFE_NAMES)


def require_tensors(tensors: dict[str, TensorInfo], file: Path) -> dict[str, TensorInfo]:
    if not tensors:
        raise KingyoError(str(file), "at least one tensor", "none", "Save or fetch the model again.")
    return tensors


def _read_shards(
    path: Path, index: Path, read: Callable[[Path], dict[str, TensorInfo]]
) -> dict[str, TensorInfo]:
    def mismatch_error(expected: str, received: str) -> KingyoError:
        remedy = "Fetch or save the model again: its index and its shards do not match."
        return KingyoError(str(index), expected, received, remedy)

    named = read_json(index, "an index of shards", parse_json).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise mismatch_error("a weight_map with entries", "none")
    weight_map = cast("dict[str, object]", named)
    suffix = PurePosixPath(index.name.removesuffix(".index.json")).suffix
    for shard in dict.fromkeys(map(str, weight_map.values())):
        pure = PurePosixPath(
            shard
        )  # must stay below the folder; the file may be a link, as in the Hub's cache
        is_inside = not pure.is_absolute() and ".." not in pure.parts and "\\" not in shard
        if not is_inside or pure.suffix != suffix or not is_file(path / pure):
            raise mismatch_error(f"existing shards ({suffix}) inside the folder", f"{shard!r:.200}")
    files = {name: path / str(shard) for name, shard in weight_map.items()}
    tensors: dict[str, TensorInfo] = {}
    for file in dict.fromkeys(files.values()):
        for name, info in read(file).items():
            if files.get(name) != file:
                received = f"none for {name} in {file.relative_to(path)}"
                raise mismatch_error("every tensor of every shard", received)
            tensors[name] = info
    if absent := [name for name in weight_map if name not in tensors]:
        received = f"'{absent[0]}', which {weight_map[absent[0]]} does not hold"
        raise mismatch_error("tensors that the shards hold", received)
    return tensors


def _no_weights_error(path: Path) -> KingyoError:
    if others := sorted(file.name for file in path.glob("*.safetensors")):
        first = others[0].partition(".")[0]
        name = f"{first if first in STEMS else STEMS[0]}.safetensors"  # of a variant such as fp16
        remedy = f"Rename {others[0]} to {name} if you mean these weights."
        return KingyoError(str(path), f"{name} or its index", f"other weights ({others[0]})", remedy)
    if pickles := sorted(file.name for pattern in _PICKLES for file in path.glob(pattern)):
        remedy = (
            "Pass --allow-pickle (run.yaml: `allow_pickle: true`), which runs no code; or "
            "load the model where you trust it, and save it with save_pretrained."
        )
        return KingyoError(str(path), "weights in safetensors", f"only pickles ({pickles[0]})", remedy)
    if (file := next(path.glob("*.gguf"), None)) is not None:
        return gguf_error(str(path), file)
    remedy = "Name the folder of a complete model, as save_pretrained writes it."
    return KingyoError(str(path), "model.safetensors or its index", "neither", remedy)


def gguf_error(reference: str, file: Path) -> KingyoError:
    """Return the error for a GGUF file, or a folder with one, in place of a model."""
    remedy = (
        "Name the original model, since most GGUFs hold rounded weights. Or load it with "
        f"transformers (gguf_file={file.name!r}, quantization_config=GgufConfig(dequantize=True)), and save "
        "it with save_pretrained."
    )
    return KingyoError(reference, "weights in safetensors", f"a GGUF ({file.name})", remedy)


def _pipeline_error(reference: str, path: Path) -> KingyoError:
    names = _components(path)
    best = next((name for name in (*DENOISERS, *names) if name in names), "unet")
    parsed = parse_reference(reference)
    named = replace(parsed, model=f"{parsed.model.rstrip('/')}/{best}")
    received = f"a diffusers pipeline ({', '.join(names) or 'without weights in safetensors'})"
    remedy = f"Name one of its models, such as {named}, or pass --component {best} to `kingyo merge`."
    return KingyoError(reference, "one model", received, remedy)


def component_error(reference: str, path: Path) -> KingyoError:
    """Return the error for a component that a pipeline lacks, or that is not a model."""
    names = _components(path.parent)
    expected = f"a model of the pipeline: {', '.join(names)}" if names else "a diffusers pipeline"
    received = f"'{path.name}'" if names else f"another repository, and '/{path.name}' in its name"
    remedy = suggest(path.name, names) if names else f"Remove '/{path.name}', or correct it."
    return KingyoError(reference, expected, received, remedy)


def _components(pipeline: Path) -> list[str]:
    """Return the models of a diffusers pipeline: those in its index, and folders with weights."""
    index = pipeline / PIPELINE
    stated = read_json(index, "the index of a pipeline") if index.is_file() else {}
    models = {name for name, is_model in parts_of(stated).items() if is_model}
    return sorted(models | {file.parent.name for name in _SAFE_NAMES for file in pipeline.glob(f"*/{name}")})


def files_around(component: Path, folders: Iterable[str], *, allow_pickle: bool) -> dict[str, Path]:
    """Return files of the pipeline around a component by name, including its index and licence.

    ``folders`` are patterns of the pipeline's other folders, such as ``vae``. With ``allow_pickle``, pickles
    of folders that have no other weights are included.
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
    return {name: not kind.endswith(_WITHOUT_WEIGHTS) for name, kind in component_classes(index).items()}

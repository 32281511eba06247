"""Find the files of a checkpoint's folder, by the names that transformers and diffusers give them."""

from __future__ import annotations

import atexit
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import TYPE_CHECKING, cast

from kingyo.core.io.model_names import HUB_NAME, local_path
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE, component_classes
from kingyo.core.io.yaml import parse_json
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS
from kingyo.merging.checkpoints.header import TensorInfo, read_header, read_pickle
from kingyo.merging.checkpoints.model_reference import parse_reference

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

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
    """Read a JSON file that holds an object; ``what`` is a noun phrase for it in errors.

    By default the last value of a key that occurs twice counts, as in transformers.
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
    """Return the stem of a folder's weight files, and their tensors in the order of their data."""
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
    names = _components(path.parent)
    expected = f"a model of the pipeline: {', '.join(names)}" if names else "a diffusers pipeline"
    received = f"'{path.name}'" if names else f"another repository, and '/{path.name}' in its name"
    remedy = suggest(path.name, names) if names else f"Remove '/{path.name}', or correct it."
    return KingyoError(reference, expected, received, remedy)


def _components(pipeline: Path) -> list[str]:
    index = pipeline / PIPELINE
    stated = read_json(index, "the index of a pipeline") if index.is_file() else {}
    models = {name for name, is_model in parts_of(stated).items() if is_model}
    return sorted(models | {file.parent.name for name in _SAFE_NAMES for file in pipeline.glob(f"*/{name}")})


def files_around(component: Path, folders: Iterable[str], *, allow_pickle: bool) -> dict[str, Path]:
    """Return files of the pipeline around a component by name; ``folders`` are patterns.

    With ``allow_pickle``, pickles of folders that have no other weights are included.
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


_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
_ABOUT = ("README.md", "LICENSE*", "NOTICE*")
_MODEL = ("*.safetensors", *_BESIDE, *_ABOUT)
_ADAPTER = (CONFIG, WEIGHTS, DIFFUSERS_WEIGHTS, *_ABOUT)
_DUPLICATES = "consolidated*"  # the same weights in Mistral's own layout
_SAFETENSORS = "*.safetensors"
_AT_ONCE = 1 << 17  # bytes; most headers are shorter, so that one request is enough
_LONGEST = 100_000_000  # bytes of a header that safetensors allows
_SECONDS = 10.0  # without an answer


@dataclass(frozen=True, kw_only=True)
class Request:
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
        return self.name if self.revision is None else f"{self.name}@{self.revision}"

    @property
    def path(self) -> Path:
        return local_path(self.name, self.folder)


def fetch(request: Request) -> tuple[Path, int]:
    """Download the files of a model on the Hub; return its folder, and the bytes of weights still missing."""
    parts = HUB_NAME.fullmatch(request.name)
    assert parts is not None, "a name on the Hub"
    name, component = parts["name"], parts["component"]
    wanted, pickled = _patterns(request, component)

    def get() -> tuple[Path, int]:
        preview = None if request.fetch else _preview(name, request.revision, wanted)
        if preview is not None:
            return preview
        return download(name, request.revision, wanted, () if request.fetch else (_SAFETENSORS,)), 0

    root, n_missing = get()
    if component is not None and not request.is_adapter and not _has_weights(request, root / component):
        wanted = (*wanted, f"{component}/{HALF}")
        root, n_missing = get()
    path = root if component is None else root / component
    if request.allow_pickle and not _has_weights(request, path):
        download(name, request.revision, (*wanted, *pickled))
    return path, n_missing


def _patterns(request: Request, component: str | None) -> tuple[Sequence[str], Sequence[str]]:
    wanted, pickled = (_ADAPTER, (PICKLE,)) if request.is_adapter else (_MODEL, PICKLED)
    if component is None:
        return wanted, pickled
    if component.endswith(".safetensors"):
        return (component, *_ABOUT), ()
    own = wanted if request.is_adapter else COMPONENT
    within = [f"{folder}/{pattern}" for folder in (component, *request.around) for pattern in own]
    return (PIPELINE, *_ABOUT, *within), [f"{component}/{pattern}" for pattern in pickled]


def _has_weights(request: Request, path: Path) -> bool:
    if request.is_adapter or path.suffix == ".safetensors":
        return path.is_file() or any((path / name).is_file() for name in (WEIGHTS, DIFFUSERS_WEIGHTS))
    return has_weights(path)


def download(name: str, revision: str | None, wanted: Sequence[str], ignored: Sequence[str] = ()) -> Path:
    """Download files of a model by patterns of their names, and return its folder; cached files stay."""
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    return Path(
        snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(wanted),
            ignore_patterns=[_DUPLICATES, *ignored],
        )
    )


def _preview(name: str, revision: str | None, wanted: Sequence[str]) -> tuple[Path, int] | None:
    """Make a folder with the small files of a model, and the headers of its weights; count the missing bytes.

    None if the cache has all weights, or the Hub does not answer (the later download reports why).
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except Exception:  # noqa: BLE001 - huggingface_hub raises the errors of several libraries
        return None
    try:
        return None if info.sha is None else _read_remote_headers(name, info, wanted)
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _read_remote_headers(name: str, info: ModelInfo, wanted: Sequence[str]) -> tuple[Path, int] | None:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    assert info.sha is not None
    missing = {
        each.rfilename: each.size
        for each in info.siblings or ()
        if fnmatch(each.rfilename, _SAFETENSORS)
        and any(fnmatch(each.rfilename, pattern) for pattern in wanted)
        and not fnmatch(each.rfilename, _DUPLICATES)
        and each.size is not None
        and not isinstance(try_to_load_from_cache(name, each.rfilename, revision=info.sha), str)
    }
    if not missing:
        return None
    small = download(name, info.sha, wanted, [*missing])
    root = Path(mkdtemp(prefix="kingyo-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    folder = root / f"models--{name.replace('/', '--')}" / "snapshots" / info.sha
    shutil.copytree(
        small, folder, copy_function=lambda file, link: Path(link).symlink_to(Path(file).resolve())
    )
    for file, size in missing.items():
        if not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"a file outside of the model: {file}")
        _write_header(folder / file, hf_hub_url(name, file, revision=info.sha), size)
    return folder, sum(missing.values())


def _write_header(target: Path, url: str, size: int) -> None:
    """Write the header of a file as it is, so that reading it finds what is wrong with it."""
    start = _fetch(url, 0, _AT_ONCE)
    end = 8 + int.from_bytes(start[:8], "little")
    rest = _fetch(url, _AT_ONCE, end) if _AT_ONCE < end <= _LONGEST else b""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        out.write((start + rest)[:end])
        out.truncate(size)


def _fetch(url: str, start: int, end: int) -> bytes:
    from huggingface_hub.utils import (
        build_hf_headers,  # pyright: ignore[reportUnknownVariableType]
        get_session,
        hf_raise_for_status,
    )

    headers = {**build_hf_headers(), "range": f"bytes={start}-{end - 1}"}
    with get_session().stream("GET", url, headers=headers, timeout=_SECONDS) as response:
        hf_raise_for_status(response)
        first = start if response.status_code == HTTPStatus.PARTIAL_CONTENT else 0  # a proxy may send all
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) >= end - first:
                break
    return bytes(content[start - first : end - first])

"""Find the files of a checkpoint's folder, by the names that transformers and diffusers give them."""

import atexit
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import cast

from kingyo.core.io.model_names import HUB_NAME, local_path
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE, component_classes
from kingyo.core.io.yaml import parse_json, read_json
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.adapter import CONFIG, DIFFUSERS_WEIGHTS, PICKLE, WEIGHTS
from kingyo.merging.checkpoints.header import TensorInfo, read_header, read_pickle

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

_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
COMPONENT = (*(f"{stem}{end}" for stem in STEMS for end in (".safetensors", "-*.safetensors")), *_BESIDE)
"""Files of a component of a diffusers pipeline, with one variant of its weights."""
HALF = f"{STEMS[1]}.fp16.safetensors"
"""The weights of many components on the Hub that have no others."""
PICKLED = tuple(f"{name}{end}" for name in PICKLES.values() for end in (".bin", "-*.bin"))
"""Weight files that are pickles."""

_WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "FeatureExtractor", "Processor")
_REMEDIES = {
    ".safetensors": "Rename it to model.safetensors if you mean these weights, or "
    "diffusion_pytorch_model.safetensors of diffusers.",
    ".gguf": "Name the original model, since most GGUFs hold rounded weights; or load it with transformers "
    "(gguf_file=..., quantization_config=GgufConfig(dequantize=True)), and save it with save_pretrained.",
    **dict.fromkeys(
        (".bin", ".pt", ".pth", ".ckpt"),
        "Pass --allow-pickle (run.yaml: `allow_pickle: true`), which runs no code; or load the file where "
        "you trust it, and save it as safetensors.",
    ),
}
"""Ending of a file of weights that is not read -> what to do about it."""


def unread_weights_error(reference: str, files: Sequence[Path]) -> KingyoError:
    """Return the error for a model that has only these files."""
    unread = [file for ending in _REMEDIES for file in sorted(files) if file.suffix == ending]
    remedy = "Name the folder of a complete model, as save_pretrained writes it."
    remedy = _REMEDIES[unread[0].suffix] if unread else remedy
    expected = "weights in safetensors (model.safetensors, or its index)"
    return KingyoError(reference, expected, f"only {unread[0].name}" if unread else "none", remedy)


def read_config(reference: str, path: Path) -> dict[str, object]:
    if not (path / "config.json").is_file():
        for pipeline, name in ((path, ""), (path.parent, path.name)):
            if (pipeline / PIPELINE).is_file():
                raise component_error(reference, pipeline, name)
        if gguf := [*path.glob("*.gguf")]:
            raise unread_weights_error(reference, gguf)
    return read_json(path / "config.json")


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
    raise unread_weights_error(str(path), [*path.iterdir()])


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

    named = read_json(index, parse_json).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise mismatch_error("a weight_map with entries", "none")
    weight_map = cast("dict[str, object]", named)
    suffix = PurePosixPath(index.name.removesuffix(".index.json")).suffix
    tensors: dict[str, TensorInfo] = {}
    for shard in dict.fromkeys(map(str, weight_map.values())):
        pure = PurePosixPath(shard)  # below the folder; the file may be a link, as in the Hub's cache
        is_inside = not pure.is_absolute() and ".." not in pure.parts and "\\" not in shard
        if not is_inside or pure.suffix != suffix or not is_file(path / pure):
            raise mismatch_error(f"existing shards ({suffix}) inside the folder", f"{shard!r:.200}")
        for name, info in read(path / pure).items():
            if weight_map.get(name) != shard:
                raise mismatch_error("every tensor of every shard", f"none for {name} in {shard}")
            tensors[name] = info
    if absent := [name for name in weight_map if name not in tensors]:
        received = f"'{absent[0]}', which {weight_map[absent[0]]} does not hold"
        raise mismatch_error("tensors that the shards hold", received)
    return tensors


def component_error(reference: str, pipeline: Path, name: str) -> KingyoError:
    """Return the error for a folder of a pipeline that is no model, or with ``name=""`` for the pipeline."""
    index = pipeline / PIPELINE
    stated = read_json(index) if index.is_file() else {}
    names = {each for each, is_model in parts_of(stated).items() if is_model}
    names |= {file.parent.name for each in _SAFE_NAMES for file in pipeline.glob(f"*/{each}")}
    best = next((each for each in (*DENOISERS, *sorted(names)) if each in names), "unet")
    expected = f"one model of a diffusers pipeline ({', '.join(sorted(names)) or 'there is none'})"
    received = f"'/{name}' at the end of its name" if name else "the whole pipeline"
    remedy = f"End its name with the model, such as /{best}, or pass --component {best} to `kingyo merge`."
    return KingyoError(reference, expected, received, remedy)


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
    from huggingface_hub import HfApi, hf_hub_url, try_to_load_from_cache

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except Exception:  # noqa: BLE001 - huggingface_hub raises the errors of several libraries
        return None
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
    if small.is_dir():  # not made if there are no small files
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

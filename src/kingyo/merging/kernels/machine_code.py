"""Compiled functions that run a loop of ``loops.text`` over memory: weighted sums, sums, histograms, ranks.

They are bit-identical to torch. The first arguments of each are those of ``loops.call_arguments``: the text,
and arrays with one row per call. Arguments are not checked. ``loop_functions`` has their source.

Their machine code is made by numba once, and loaded from disk without numba afterwards. To import numba takes
longer than to merge a small model. The code is kept beside this package, or in the user's cache, and read
only by the same versions on the same processor.
"""


# pyright: basic

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kind = tuple[str, int]
"""Type of an argument: of its numbers, as numpy names it, and number of dimensions."""
_NUMBERS = {"int64": ctypes.c_int64, "uint32": ctypes.c_uint32, "float64": ctypes.c_double}
_engines: list[object] = []  # they own the code
_lock = Lock()


class CompiledFunction:
    """A function of ``loop_functions`` with its own machine code for each text of a loop.

    Calls release the interpreter's lock. ``kinds`` are the types of the arguments after the text, such as
    ``float64`` or ``float64[2]``, of contiguous arrays.
    """

    def __init__(self, name: str, *kinds: str) -> None:
        self.name, self.kinds = name, [_kind(each) for each in kinds]
        self._entries: dict[str, Callable[..., None]] = {}

    def __call__(self, text: str, *arguments: Any) -> None:
        """Run the code for a text; it is empty for a function without a loop."""
        entry = self._entries.get(text) or self._entry(text)
        flat: list[object] = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                flat += (argument.__array_interface__["data"][0], *argument.shape)
            else:
                flat.append(argument)
        entry(*flat)

    def _entry(self, text: str) -> Callable[..., None]:
        with _lock:  # threads that start together compile once
            if text not in self._entries:
                address = _load(*_code(self.name, self.kinds, text))
                types = [each for kind in self.kinds for each in _c_types(kind)]
                self._entries[text] = ctypes.CFUNCTYPE(None, *types)(address)
            return self._entries[text]


def _kind(written: str) -> Kind:
    number, _, n = written.partition("[")
    return number, int(n.rstrip("]") or 0)


def _c_types(kind: Kind) -> list[type]:
    return [ctypes.c_void_p, *[ctypes.c_int64] * kind[1]] if kind[1] else [_NUMBERS[kind[0]]]


def is_used() -> bool:
    return bool(_engines)


def has_code() -> bool:
    """Return whether code for these versions and this processor is on disk, so that numba has worked."""
    try:
        return any(folder.is_dir() and any(folder.iterdir()) for folder in _folders())
    except (ImportError, OSError):  # numba is not there, or none that we know
        return False


def converts_halves() -> bool:
    """Return whether the processor converts float16; else compiled code would call a library."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_features().get("f16c", True)  # only x86 names this feature


def _code(name: str, kinds: Sequence[Kind], text: str) -> tuple[str, bytes]:
    file = hashlib.sha256(repr((name, kinds, text)).encode()).hexdigest()[:32]
    for folder in _folders():
        with suppress(OSError, ValueError):
            return _unpack((folder / file).read_bytes())
    from kingyo.merging.kernels.loop_functions import compile_function

    symbol, code = compile_function(name, kinds, text)
    for folder in _folders():
        with suppress(OSError):
            _write(folder, file, symbol.encode() + b"\n" + code)
            break
    return symbol, code


def _unpack(content: bytes) -> tuple[str, bytes]:
    digest, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("damaged code")
    symbol, _, code = content.partition(b"\n")
    return symbol.decode(), code


def _write(folder: Path, file: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix="writing-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(hashlib.sha256(content).digest() + content)
        Path(temporary).replace(folder / file)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


@cache
def _folders() -> Sequence[Path]:
    """Return folders for code, the preferred one first; numba's own setting replaces them."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    roots = [Path(chosen)] if chosen else [Path(__file__).parent / "__pycache__"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    if not chosen and cache.is_absolute():  # the user may have no home
        roots.append(cache / "kingyo")
    return [root / f"loops-{_digest()}" for root in roots]


def _digest() -> str:
    import llvmlite.binding as llvm

    digest = hashlib.sha256(b"".join(_sources()))
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
    features = llvm.get_host_cpu_features().flatten()
    digest.update(repr((settings, llvm.get_host_cpu_name(), features, np.__version__)).encode())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[bytes]:
    for file in sorted(Path(__file__).parent.glob("*.py")):
        yield file.read_bytes()
    for package in ("numba", "llvmlite"):
        found = find_spec(package)
        if found is None or found.origin is None:
            raise ModuleNotFoundError(f"no module named {package}", name=package)
        yield found.origin.encode() + Path(found.origin).with_name("_version.py").read_bytes()


def _load(symbol: str, code: bytes) -> int:
    import llvmlite.binding as llvm

    _initialize()
    module = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(
        module, llvm.Target.from_default_triple().create_target_machine(jit=True)
    )
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(symbol)


@cache
def _initialize() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


DIGITS = 1 << 12
"""Values of a digit of the radix sort."""

_CALLS = ("uint64[2]", "float32[2]", "uint32[2]", "int64[2]")

weighted_sums = CompiledFunction("weighted_sums", *_CALLS, "uint8[1]", "uint32[1]")
sums = CompiledFunction("sums", *_CALLS, "int64", "float32[2]", "float64[2]", "float64[2]")
exact_sums = CompiledFunction("exact_sums", *_CALLS, "float64[1]", "float32[2]", "uint64[1]", "float64[1]")
sizes = CompiledFunction("sizes", *_CALLS, "float32[1]")
histogram = CompiledFunction("histogram", *_CALLS, "int64[1]", "float32[1]")
by_draw = CompiledFunction("by_draw", *_CALLS, "uint32[1]", "float64", "float32[1]", "float64[1]")
collect = CompiledFunction(
    "collect", *_CALLS, "uint32", "float32[1]", "uint32[1]", "uint32[1]", "int64[1]", "int64[1]"
)
_SORT = ("uint64[2]", "uint32[2]")
ranks = CompiledFunction("ranks", *_CALLS, "int64", "float32[1]", *_SORT, "uint16[1]")
_order = CompiledFunction("order", "uint32[1]", *_SORT, "uint32[1]")


def sort_memory(n: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return memory to sort n numbers."""
    return np.empty((2, n), np.uint64), np.empty((3, DIGITS), np.uint32)


def order(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the places of uint32 numbers in ascending order; of equal ones the first is first."""
    places = np.empty(numbers.size, np.uint32)
    _order("", numbers, *sort_memory(numbers.size), places)
    return places

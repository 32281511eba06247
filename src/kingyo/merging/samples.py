"""What a merge method costs on this machine: it is run on made-up tensors. No weight is read.

A tiny tensor tells what any tensor costs, a first one whether the method is slow, and two more (smaller ones
if it is) how time and memory grow. To reach a tensor in a file is taken to cost ``_ACCESS``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kingyo.engine import How, TensorJob
from kingyo.engine.execute import execute
from kingyo.kernels.blocks import Span
from kingyo.kernels.raw import as_torch, empty_vector, letter_of, raw_tensor
from kingyo.late import Tensor, torch

_TINY = 1 << 6  # elements of a tensor that costs what any tensor costs
_FIRST = 1 << 18  # elements of the first sample
_QUICK, _SLOW = (1 << 21, 1 << 23), (1 << 18, 1 << 20)  # of the samples behind it
_IS_SLOW = 0.05  # seconds for the first sample
_ACCESS = 1e-4  # seconds to reach a tensor in a file
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a merge of a tensor costs, by its size n: ``least + seconds · (n / size) ** power``, and memory.

    Attributes:
        least: seconds for any tensor.
        size: elements of the larger sample.
        seconds: that it took.
        power: how time grows; 1 for methods that go through a tensor, more for decompositions.
        fixed, each: bytes of memory beside sources and result: whatever the size, and for each element.
    """

    size: int
    seconds: float
    power: float = 1.0
    fixed: float = 0.0
    each: float = 0.0
    least: float = _ACCESS

    def time(self, n: int) -> float:
        """Seconds for a tensor of n elements."""
        return self.least + self.seconds * (n / self.size) ** (self.power if n > self.size else 1.0)

    def memory(self, n: int) -> int:
        """Bytes for a tensor of n elements."""
        return int(self.fixed + self.each * n)


def measure(job: TensorJob, dtypes: Sequence[str], how: How) -> Cost:
    """Run a job's method on made-up tensors.

    Args:
        job: whose method and values these are.
        dtypes: of its inputs, the base's last if there is one.
        how: threads and the like.
    """
    _run(job, dtypes, _scaled(job.shape, _FIRST), how)  # code is loaded
    tiny = min(_run(job, dtypes, _scaled(job.shape, _TINY), how)[0] for _ in range(3))
    least = tiny + _ACCESS * (len(dtypes) + 1)
    first, _ = _run(job, dtypes, _scaled(job.shape, _FIRST), how)
    sizes = [_scaled(job.shape, most) for most in (_SLOW if first > _IS_SLOW else _QUICK)]
    (seconds, memory), (later, more) = (_run(job, dtypes, shape, how) for shape in sizes)
    small, large = (math.prod(shape) for shape in sizes)
    if large == small:
        return Cost(size=large, seconds=later, fixed=more, least=least)
    growth = math.log(later / seconds) / math.log(large / small)
    each = max(0.0, (more - memory) / (large - small))
    fixed = max(0.0, more - each * large)
    power = max(1.0, growth)
    return Cost(size=large, seconds=later, power=power, fixed=fixed, each=each, least=least)


def resident() -> int | None:
    """Bytes of memory that this process has now; None where the system does not tell."""
    return _status("VmRSS")


class _Nowhere:
    """A sink that keeps nothing."""

    def place(self, job: TensorJob, span: Span) -> Tensor:
        return empty_vector(span[1] - span[0], job.dtype)

    def take(self, job: TensorJob, span: Span, numbers: Tensor) -> None:
        pass

    def broken(self, job: TensorJob) -> None:
        pass


def _run(job: TensorJob, dtypes: Sequence[str], shape: tuple[int, ...], how: How) -> tuple[float, float]:
    """Seconds, and bytes of memory beside the made-up sources."""
    generator, n = np.random.default_rng(0), math.prod(shape)
    start = generator.standard_normal(n, dtype=np.float32) * np.float32(0.02)
    tensors: dict[str, Tensor] = {}
    for i, dtype in enumerate(dtypes):
        moved = generator.standard_normal(n, dtype=np.float32) * np.float32(0.002)
        tensors[f"input {i}"] = _stored(np.add(moved, start, dtype=np.float32), dtype, shape)
    names = iter(tensors)
    inputs = tuple(replace(each, reference=next(names)) for each in job.inputs)
    base = replace(job.base, reference=next(names)) if job.base is not None else None
    sample = replace(job, shape=shape, inputs=inputs, base=base)

    def work() -> float:
        begun = time.perf_counter()
        execute(
            [sample],
            lambda reference, _: as_torch(tensors[reference]),
            _Nowhere(),
            how,
            raw=lambda reference, _: tensors[reference],
        )
        return time.perf_counter() - begun

    return _with_growth(work)


def _stored(numbers: NDArray[np.float32], dtype: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers as a model may store them; how they are rounded is no matter here."""
    if letter_of(dtype) is None:
        return as_torch(raw_tensor(numbers.view(np.uint8), "float32", shape)).to(getattr(torch, dtype))
    if dtype == "bfloat16":
        memory = (numbers.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)
    elif dtype == "float16":
        memory = numbers.astype(np.float16).view(np.uint8)
    else:
        memory = numbers.view(np.uint8)
    return raw_tensor(memory, dtype, shape)


def _with_growth(work: Callable[[], float]) -> tuple[float, float]:
    """What it returns, and by how much memory grew meanwhile; nothing where the system does not tell."""
    _give_back()
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return work(), 0.0
    before = _status("VmRSS")
    seconds = work()
    peak = _status("VmHWM")
    return seconds, float(max(0, (peak or 0) - (before or 0)))


def _give_back() -> None:
    """Return freed memory to the system, so that using it again is seen."""
    try:
        ctypes.CDLL(ctypes.util.find_library("c")).malloc_trim(0)
    except (OSError, AttributeError, TypeError):  # another C library
        return


def _status(key: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith(f"{key}:")), None)
    return None if found is None else int(found) * 1024


def _scaled(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """A smaller shape of the same proportions."""
    size = math.prod(shape)
    if size <= most:
        return shape
    share = (most / size) ** (1 / len(shape))
    return tuple(max(1, round(length * share)) for length in shape)

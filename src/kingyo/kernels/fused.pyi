# The types of the compiled functions, which numba's decorator hides.

import numpy as np
from numpy.typing import NDArray

_Addresses = NDArray[np.uint64]
_Floats = NDArray[np.float32]
_Keys = NDArray[np.uint32]
_Integers = NDArray[np.int64]

SHIFT: np.uint32

def blend(
    text: str, addresses: _Addresses, numbers: _Floats, keys: _Keys, start: int, stop: int, /
) -> int: ...
def blends(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    spans: _Integers,
    worst: NDArray[np.uint32],
    /,
) -> None: ...
def sums(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    start: int,
    stop: int,
    found: NDArray[np.float64],
    rounder: float,
    /,
) -> None: ...
def exact_sums(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    spans: _Integers,
    rounders: NDArray[np.float64],
    found: NDArray[np.float64],
    /,
) -> None: ...
def sizes(
    text: str, addresses: _Addresses, numbers: _Floats, keys: _Keys, start: int, stop: int, /
) -> None: ...
def histogram(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    start: int,
    stop: int,
    counts: _Integers,
    scratch: _Floats,
    /,
) -> None: ...
def by_chance(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    start: int,
    stop: int,
    rounder: float,
    scratch: _Floats,
    bins: NDArray[np.float64],
    /,
) -> None: ...
def collect(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    start: int,
    stop: int,
    wanted: np.uint32,
    scratch: _Floats,
    found: NDArray[np.uint32],
    places: _Integers,
    /,
) -> int: ...
def ranks(
    text: str,
    addresses: _Addresses,
    numbers: _Floats,
    keys: _Keys,
    start: int,
    stop: int,
    length: int,
    scratch: _Floats,
    found: NDArray[np.uint16] | NDArray[np.int32],
    /,
) -> None: ...

long_ranks = ranks

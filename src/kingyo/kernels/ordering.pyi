# The types of the compiled functions, which numba's decorator hides.

import numpy as np
from numpy.typing import NDArray

DIGITS: int

def order(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]: ...
def sort(
    numbers: NDArray[np.uint32],
    keyed: NDArray[np.uint64],
    counts: NDArray[np.uint32],
    found: NDArray[np.uint32] | NDArray[np.uint16] | NDArray[np.int32],
    ranks: bool,
) -> None: ...

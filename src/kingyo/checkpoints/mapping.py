"""A tensor's bytes, mapped from its file for as long as somebody holds the tensor.

Mapping tensors one by one, not files whole, is what keeps a merge of large models small: a tensor that was
read leaves the process's memory when it is dropped, and the system's file cache still has it for the next
candidate.
"""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

from kingyo.checkpoints.header import TensorInfo
from kingyo.errors import KingyoError


def map_tensor(info: TensorInfo) -> Tensor:
    """Return a tensor as stored, on the CPU. Its pages are private: a write would never reach the file.

    Raises:
        KingyoError: the file is gone or shorter than when it was opened.
    """
    dtype = getattr(torch, info.dtype)
    if info.n_elements == 0:
        return torch.empty(info.shape, dtype=dtype)
    lead = info.start % mmap.ALLOCATIONGRANULARITY
    try:
        with info.file.open("rb") as stream:
            pages = mmap.mmap(
                stream.fileno(), lead + info.n_bytes, access=mmap.ACCESS_COPY, offset=info.start - lead
            )
    except (OSError, ValueError) as error:
        raise KingyoError(
            f"{info.file}: {info.name}",
            expected="the file as it was when it was opened",
            received=str(error),
            remedy="Leave the sources in place while they are merged; put the file back and go on.",
        ) from error
    raw = torch.frombuffer(pages, dtype=torch.uint8, count=info.n_bytes, offset=lead)
    if info.start % dtype.itemsize:
        raw = raw.clone()  # a header of odd length: such bytes cannot be viewed as numbers
    return raw.view(dtype).view(info.shape)

"""Import torch on first use, since importing it takes longer than many merges.

``from kingyo.core.io.lazy_torch import Tensor, torch`` replaces ``import torch`` in modules that often
do without it. ``Tensor`` is for annotations only; use ``torch.Tensor`` with ``isinstance``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, ForwardRef

__all__ = ["Tensor", "is_loaded", "torch"]


class _Late:
    """A module that is imported when one of its attributes is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):  # introspection, which needs no torch
            raise AttributeError(attribute)
        value: object = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = _Late("torch")
    Tensor = ForwardRef("torch.Tensor")


def is_loaded() -> bool:
    return "torch" in sys.modules

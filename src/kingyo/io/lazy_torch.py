"""Import torch when something of it is first used, which takes longer than many merges.

``from kingyo.io.lazy_torch import Tensor, torch`` replaces ``import torch`` in modules that may not need it.
``Tensor`` is for annotations only; ``isinstance`` needs ``torch.Tensor``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, ForwardRef

__all__ = ["Tensor", "is_loaded", "torch"]


class _Late:
    """Stands for a module until something of it is used.

    Args:
        name: of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__"):  # whoever looks at modules asks for these, and needs no torch
            raise AttributeError(attribute)
        found: object = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)
        return found


if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = _Late("torch")
    Tensor = ForwardRef("torch.Tensor")


def is_loaded() -> bool:
    """Whether anybody has imported torch."""
    return "torch" in sys.modules

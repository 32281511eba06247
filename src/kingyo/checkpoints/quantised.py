"""Refuse quantised checkpoints: their numbers are codes, which cannot be averaged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

from kingyo.checkpoints.header import TensorInfo
from kingyo.errors import KingyoError

_CODES = re.compile(
    r"\.(qweight|qzeros|g_idx|SCB|absmax|quant_map|nested_absmax|weight_format|weight_packed|weight_scale"
    r"|weight_scale_inv|weight_shape)$|\.quant_state\.|_(blocks|scales)$"
)
_UNQUANTISED = "Name the original model, or dequantise this one (transformers: dequantize())."


def refuse_quantised(reference: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]) -> None:
    """Check that a checkpoint is not quantised, from its config, names and dtypes.

    Raises:
        KingyoError: it is quantised (bitsandbytes, GPTQ, AWQ, fp8 with scales, …).
    """
    for level in (config, *_inner(config)):
        quantization = level.get("quantization_config")
        if quantization:
            raise KingyoError(
                f"{reference}: config.json",
                expected="weights that can be merged",
                received=f"a quantised model ({_method(quantization)})",
                remedy=_UNQUANTISED,
            )
    for name, info in tensors.items():
        if _CODES.search(name) and not (info.is_floating and name.endswith(("_blocks", "_scales"))):
            raise _quantised(reference, name, info)
        if name.endswith("weight") and not info.is_floating and len(info.shape) > 1:
            raise _quantised(reference, name, info)


def _quantised(reference: str, name: str, info: TensorInfo) -> KingyoError:
    return KingyoError(
        f"{reference}: {name}",
        expected="weights that can be merged",
        received=f"a quantised model ({info.dtype})",
        remedy=_UNQUANTISED,
    )


def _inner(config: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for key, value in config.items():
        if key.endswith("_config") and isinstance(value, dict):
            yield cast("Mapping[str, object]", value)


def _method(quantization: object) -> str:
    if not isinstance(quantization, dict):
        return f"{quantization!r:.80}"
    settings = cast("Mapping[str, object]", quantization)
    return str(settings.get("quant_method") or settings.get("quant_type") or "quantization_config")[:80]

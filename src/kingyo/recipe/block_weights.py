"""Merge block weights (MBW) in the text form that image tools share, such as the presets of supermerger.

``0.5,0,0.1,…`` has one number for each block of a denoiser. A line of a presets file, which begins with the
name of the preset and a tab, colon or comma, is also accepted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from kingyo.errors import KingyoError, listed
from kingyo.recipe.shape import Shape, Text

HEADER = "preset_name"
"""First word of a file of presets."""


def unet_blocks(n: int) -> tuple[str, ...]:
    """Return the names of the blocks of a UNet with n blocks on each side."""
    return ("BASE", *(f"IN{i:02}" for i in range(n)), "M00", *(f"OUT{i:02}" for i in range(n)))


SD1, SDXL = unet_blocks(12), unet_blocks(9)


@dataclass(frozen=True, kw_only=True)
class BlockWeights(Shape):
    """One number per block of a denoiser, as text.

    Example:
        >>> BlockWeights(mbw="HALF:0,1,0.5,1").by_block(["BASE", "IN00", "M00", "OUT00"])
        {'BASE': 0.0, 'IN00': 1.0, 'M00': 0.5, 'OUT00': 1.0}
    """

    FORM: ClassVar[str] = 'Write it as `{mbw: "0.5,0,0.1,…"}`, with one number per block.'

    mbw: Text

    def __post_init__(self) -> None:
        _ = self.numbers

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        return tuple(map(_number, _fields(self.mbw)))

    def by_block(self, blocks: Sequence[str]) -> dict[str, float]:
        """Return the number of each block.

        Args:
            blocks: the blocks of the denoiser, from input to output. As in supermerger, texts for SDXL may
                end with a number for the VAE, texts for Flux begin with those for CLIP and T5, and SDXL takes
                from texts for SD1 the blocks that it has.
        """
        fitting = (names for names in _forms(tuple(blocks)) if len(names) == len(self.numbers))
        names = next(fitting, None)
        if names is None:
            expected = f"{len(blocks)} numbers, for {listed(blocks, 4)} to {blocks[-1]}"
            remedy = "Use a preset for models of this structure, or add the missing numbers."
            raise KingyoError("mbw", expected, str(len(self.numbers)), remedy)
        numbers = dict(zip(names, self.numbers, strict=True))
        return {block: numbers[block] for block in blocks}


def _forms(blocks: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the names of the numbers in texts for a denoiser."""
    yield blocks
    if blocks == SDXL:
        yield from ((*blocks, "VAE"), SD1)
    if "S00" in blocks:
        yield ("CLIP", "T5", *blocks)


def _fields(text: str) -> list[str]:
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    fields = ",".join(line for line in lines if line and not line.startswith(HEADER)).split(",")
    named = re.split(r"[\t:]", fields[0], maxsplit=1)
    if len(named) == 2:
        return [named[1], *fields[1:]]
    is_named = len(fields) > 1 and not _is_number(fields[0])
    return fields[1:] if is_named else fields


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(text: str) -> float:
    if not _is_number(text):
        expected = "numbers that are separated by commas"
        received = f"'{text.strip()}'" if text.strip() else "none"
        raise KingyoError("mbw", expected, received, BlockWeights.FORM)
    return float(text)

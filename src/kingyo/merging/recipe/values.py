"""Values of a recipe's parameters: constants, gradients, filters on tensor names, and weights of blocks."""

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, cast

from pydantic import PlainSerializer, PlainValidator, SkipValidation

from kingyo.core.io.schema import short
from kingyo.errors import KingyoError, listed
from kingyo.merging.recipe.shape import Shape, Text, named, validate

SD1, SDXL = (
    ("BASE", *(f"IN{i:02}" for i in range(n)), "M00", *(f"OUT{i:02}" for i in range(n))) for n in (12, 9)
)


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
        """Return the number of each block of a denoiser, from input to output.

        As in supermerger, texts for SDXL may end with a number for the VAE, texts for Flux begin with those
        for CLIP and T5, and SDXL takes from texts for SD1 the blocks that it has.
        """
        forms = [tuple(blocks)]
        if forms[0] == SDXL:
            forms += [(*blocks, "VAE"), SD1]
        if "S00" in blocks:
            forms.append(("CLIP", "T5", *blocks))
        names = next((names for names in forms if len(names) == len(self.numbers)), None)
        if names is None:
            expected = f"{len(blocks)} numbers, for {listed(blocks, 4)} to {blocks[-1]}"
            remedy = "Use a preset for models of this structure, or add the missing numbers."
            raise KingyoError("mbw", expected, str(len(self.numbers)), remedy)
        numbers = dict(zip(names, self.numbers, strict=True))
        return {block: numbers[block] for block in blocks}


def _fields(text: str) -> list[str]:
    """Split the text; a preset's name may precede the numbers, with a colon or a tab."""
    return re.split(r"[\t:]", text, maxsplit=1)[-1].rstrip(", \n").split(",")


def _number(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(text)):
            return number
    expected, received = "numbers that are separated by commas", f"'{text.strip()}'"
    raise KingyoError("mbw", expected, received, BlockWeights.FORM)


Word = float | bool | str
"""A number, a switch, or the name of a choice."""

Plain = Word | tuple[float, ...] | tuple[bool, ...] | tuple[str, ...]
"""A value, or a gradient of values over the layers: numbers are interpolated, others change in steps."""

WITHOUT_EFFECT = ("int8_mask",)
"""Parameters of mergekit that do not affect the result."""


@dataclass(frozen=True, kw_only=True)
class Conditional(Shape):
    """A value for the tensors whose name contains ``filter``; None and ``"*"`` match every name."""

    FORM: ClassVar[str] = "Write every entry as `- {filter: mlp, value: 0.5}`; the last may omit the filter."

    filter: Text | None = None
    value: Annotated[Plain, SkipValidation]

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _plain(self.value, "value"))

    def matches(self, tensor: str) -> bool:
        return self.filter is None or self.filter in tensor or self.filter == "*"


Value = Plain | tuple[Conditional, ...] | BlockWeights
Values = Mapping[str, Value]
"""Parameters by name."""


def look_up(levels: Iterable[Values], parameter: str, tensor: str, depth: float | None) -> Word | None:
    """Resolve a parameter for one tensor: the first level with a value for it decides.

    Levels begin with the most specific. ``depth``, from 0 (first layer) to 1 (last), is for gradients.
    """
    for level in levels:
        value = level.get(parameter)
        if value is None:
            continue
        if not (isinstance(value, tuple) and value and isinstance(value[0], Conditional)):
            return _at_depth(cast("Plain", value), depth, parameter, tensor)
        for each in cast("tuple[Conditional, ...]", value):
            if each.matches(tensor):
                return _at_depth(each.value, depth, parameter, tensor)
    return None


def canonical(values: Values, where: str) -> dict[str, Value]:
    """Copy values in canonical types: integers become floats, lists become tuples."""
    return {
        name: value
        if isinstance(value, BlockWeights)
        else cast("tuple[Conditional, ...]", tuple(value))
        if isinstance(value, tuple) and value and all(isinstance(each, Conditional) for each in value)
        else _plain(value, f"{where}: {name}")
        for name, value in values.items()
    }


def _at_depth(value: Plain, depth: float | None, parameter: str, tensor: str) -> Word:
    """Return the value of a gradient, whose points are evenly spaced on [0, 1], by linear interpolation."""
    if not isinstance(value, tuple):
        return value
    if depth is None:
        received = f"a gradient for '{tensor}', which has no depth"
        remedy = "Write one number instead of the list, or a filter for this tensor."
        raise KingyoError(parameter, "one value", received, remedy)
    position = depth * (len(value) - 1)
    below = min(int(position), len(value) - 1)
    low, high = value[below], value[min(below + 1, len(value) - 1)]
    if below == position or isinstance(low, bool | str) or isinstance(high, bool | str):
        return low
    share = position - below
    return (1 - share) * low + share * high


def _plain(value: object, where: str = "") -> Plain:
    if type(value) is float and math.isfinite(value):  # the most common
        return value
    if not isinstance(value, list | tuple):
        return _word(value, where)
    points = tuple(_word(point, where) for point in cast("Sequence[object]", value))
    kinds = {type(point) for point in points}
    if len(kinds) != 1:
        expected = "a gradient of at least one number, or of values of one kind"
        received = short(cast("object", value)) if points else "an empty list"
        remedy = "Write numbers into the list, or remove the parameter."
        raise KingyoError(where, expected, received, remedy)
    return cast("tuple[float, ...]", points)


def _word(value: object, where: str) -> Word:
    """Check a finite number, a switch or a word. YAML 1.1 reads ``1e-5`` (no dot) as text; it is a number."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, str) and value.strip():
        return value
    try:
        is_finite = isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        is_finite = False
    if not is_finite:
        expected = "a finite number, true or false, or a word"
        remedy = "Write a plain number, such as 0.5."
        raise KingyoError(where, expected, short(value), remedy)
    return float(cast("float", value))


def _parse_value(value: object) -> Value:
    if isinstance(value, Mapping) and "mbw" in value:
        return validate(BlockWeights, cast("object", value))
    if isinstance(value, Mapping):
        return (validate(Conditional, cast("object", value)),)
    points = cast("list[object]", value) if isinstance(value, list) else []
    if any(isinstance(point, Mapping) for point in points):
        return validate(tuple[Conditional, ...], points)
    return _plain(cast("object", value))


def _dump(value: Value) -> object:
    if isinstance(value, BlockWeights):
        return {"mbw": value.mbw}
    if not isinstance(value, tuple):
        return value
    return [
        ({"filter": each.filter} if each.filter is not None else {}) | {"value": _dump(each.value)}
        if isinstance(each, Conditional)
        else each
        for each in value
    ]


Parameters = Annotated[
    Mapping[str, Annotated[Value, PlainValidator(_parse_value)]],
    named("Write lines of `name: value` below parameters:, or remove the key.", without=WITHOUT_EFFECT),
    PlainSerializer(lambda values: {name: _dump(value) for name, value in values.items()}),
]

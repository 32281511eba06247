"""Parse what users write into strict, typed data. Errors name the key and suggest the nearest one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Annotated, LiteralString, TypeGuard, TypeVar, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from kingyo.errors import KingyoError, combined_error, nearest, suggest

S = TypeVar("S")
M = TypeVar("M", bound=BaseModel)

_NUMBER = "a number", "Write a number without quotes, such as 0.5."
_LIST = "a list", "Write it as a list: [one, two]."
_MAPPING = "a mapping of keys to values", "Write it as lines of `key: value`."
_TEXTS: dict[str, tuple[str | None, str]] = {
    "greater_than": (None, "Write a larger number."),
    "less_than": (None, "Write a smaller number."),
    "literal_error": (None, "Write one of these words exactly."),
    "int_": ("a whole number", "Write a whole number without quotes, such as 10."),
    "float_": _NUMBER,
    "finite_number": (None, _NUMBER[1]),
    "bool_": ("true or false", "Write true or false without quotes."),
    "string_type": ("text", "If you mean text, put it in quotes."),
    "string_too_short": (None, "Fill it in."),
    "too_short": (None, "Fill it in."),
    "string_pattern_mismatch": (None, "Use only characters that this pattern allows."),
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _MAPPING,
    "model_": _MAPPING,
    "dataclass_": _MAPPING,
}
"""Prefix of a pydantic error type -> what was expected, in the terms of YAML, and the remedy."""


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("float_type", "Input should be a number")
    return value


Number = Annotated[float, BeforeValidator(_not_bool)]
"""A number, but not ``true``, which pydantic would read as 1."""
Real = Annotated[Number, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, strict=True)]


class StrictModel(BaseModel):
    """Immutable settings without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


"""A finite number."""


def parse_model(model: type[M], data: Mapping[str, object], where: str) -> M:
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise _combined_error(error, where, model) from error


def parse_settings(kind: type[S], values: Mapping[str, object], where: str, beside: Iterable[str] = ()) -> S:
    """Build a frozen settings dataclass from a mapping; unknown keys and wrong types are errors."""
    try:
        return validate_settings(kind, values, beside)
    except ValidationError as error:
        raise _combined_error(error, where) from error
    except KingyoError as error:
        raise error.placed(where) from error


def validate_settings(kind: type[S], values: Mapping[str, object], beside: Iterable[str] = ()) -> S:
    """Like ``parse_settings``, but for use inside a pydantic validator: it raises ValidationErrors."""
    fields = getattr(kind, "__dataclass_fields__", {})
    unknown = {key: value for key, value in values.items() if key not in fields}
    context = {"known": [*fields, *beside]}
    mistakes = [_mistake("extra_forbidden", "", (key,), value, context) for key, value in unknown.items()]
    known = {key: value for key, value in values.items() if key in fields}
    try:
        settings = TypeAdapter(kind).validate_python(known)
    except (PydanticUserError, NameError) as error:  # the user's own class
        received = ", ".join(f"{name}: {field.type}" for name, field in fields.items())
        remedy = "Declare each option as bool, int, float, str, or a list or mapping of these."
        raise KingyoError(kind.__name__, "options with types that YAML can hold", received, remedy) from error
    except ValidationError as error:
        raise ValidationError.from_exception_data(kind.__name__, [*mistakes, *_again(error)]) from error
    for key, value in known.items():
        read = cast(object, getattr(settings, key))
        if isinstance(value, bool) and not isinstance(read, bool):  # pydantic reads it as 1
            mistakes.append(
                _mistake("int_type" if isinstance(read, int) else "float_type", "", (key,), value)
            )
    if mistakes:
        raise ValidationError.from_exception_data(kind.__name__, mistakes)
    return settings


def validate_together(parse: Callable[[], S], check: Callable[[], object]) -> S:
    """Call both, merge their ValidationErrors into one, and return the result of the first."""
    mistakes: list[InitErrorDetails] = []
    parsed: list[S] = []
    for call in (lambda: parsed.append(parse()), check):
        try:
            call()
        except ValidationError as error:
            mistakes += _again(error)
        except KingyoError as error:
            mistakes.append(_mistake("value_error", "", (), None, {"error": error}))
    if mistakes:
        raise ValidationError.from_exception_data("values", mistakes)
    return parsed[0]


def _again(error: ValidationError) -> list[InitErrorDetails]:
    return [
        _mistake(each["type"], each["msg"], each["loc"], each["input"], each.get("ctx"))
        for each in error.errors()
    ]


def _mistake(
    kind: str,
    message: str,
    place: tuple[int | str, ...],
    value: object,
    context: Mapping[str, object] | None = None,
) -> InitErrorDetails:
    custom = PydanticCustomError(
        cast(LiteralString, kind), cast(LiteralString, message), dict(context) if context else None
    )
    return InitErrorDetails(type=custom, loc=place, input=value)


def find_mistakes(
    error: ValidationError, where: str, model: type[BaseModel] | None = None
) -> list[KingyoError]:
    """Return every mistake with its place, such as ``models[0].weight``; ``model`` is for suggestions.

    A KingyoError that a validator raised is kept; mistakes of a union's members in one value become one.
    """
    groups: dict[tuple[object, ...], list[ErrorDetails]] = {}
    problems = error.errors(include_url=False)
    for i, problem in enumerate(problems):
        if problem["type"] != "default_factory_not_called" and not _is_misspelt(problem, problems):
            place = tuple(takewhile(lambda part: not _is_tag(part, model), problem["loc"]))
            groups.setdefault((place, i if _cause(problem) else None), []).append(problem)
    return [_problem_error(group, model, where) for group in groups.values()]


def _combined_error(error: ValidationError, where: str, model: type[BaseModel] | None = None) -> KingyoError:
    return combined_error(where, find_mistakes(error, where, model), "valid values")


def _cause(problem: ErrorDetails) -> KingyoError | None:
    cause = problem.get("ctx", {}).get("error")
    return cause if isinstance(cause, KingyoError) else None


def _dotted(where: str, place: Sequence[int | str]) -> str:
    keys = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return f"{where}: {keys.removeprefix('.')}" if keys else where


def _is_misspelt(problem: ErrorDetails, problems: Sequence[ErrorDetails]) -> bool:
    *above, key = problem["loc"] or ("",)
    unknown = (each["loc"] for each in problems if each["type"] == "extra_forbidden")
    beside = (str(loc[-1]) for loc in unknown if list(loc[:-1]) == above)
    return problem["type"] == "missing" and any(nearest(each, [str(key)]) for each in beside)


def _problem_error(
    problems: Sequence[ErrorDetails], model: type[BaseModel] | None, where: str
) -> KingyoError:
    problem = problems[0]
    if (cause := _cause(problem)) is not None:
        return cause.placed(_dotted(where, problem["loc"]))
    place = _place(problem, model)
    if problem["type"] == "extra_forbidden":
        names = cast("list[str] | None", problem.get("ctx", {}).get("known"))
        known = set(names or (_keys(model, problem["loc"][:-1]) if model is not None else ()))
        key = str(place[-1])
        remedy = suggest(key, known)
        return KingyoError(_dotted(where, place[:-1]), "a known key", f"'{key}'", remedy)
    argument = _dotted(where, place)
    if problem["type"] == "missing":
        return KingyoError(argument, "a value", "nothing", "Add this key: it is required.")
    value = cast(object, problem["input"])
    if problem["type"] == "value_error" and isinstance(value, Mapping):  # valid keys contradict each other
        keys = cast("Mapping[object, object]", value)
        received = f"the keys {', '.join(map(str, keys))}" if keys else "no keys"
        return KingyoError(argument, expected_words(problem), received, _remedy(problem, place))
    beside = [each for each in problems if _place(each, model) == place]
    wanted = dict.fromkeys(map(expected_words, beside))
    remedy = _remedy(problem, place) if len(wanted) == 1 else f"Write '{place[-1]}' as one of these."
    return KingyoError(argument, " or ".join(wanted), short(value), remedy)


def _place(problem: ErrorDetails, model: type[BaseModel] | None) -> list[int | str]:
    return [part for part in problem["loc"] if not _is_tag(part, model)]


def expected_words(problem: ErrorDetails) -> str:
    """Return what was expected in the terms of YAML, such as "a whole number" or "true or false"."""
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"].startswith(("greater_than", "less_than")):
        message = f"a number {message}"
    return _texts(problem)[0] or message[:1].lower() + message[1:]


def _texts(problem: ErrorDetails) -> tuple[str | None, str | None]:
    found = (texts for start, texts in _TEXTS.items() if problem["type"].startswith(start))
    return next(found, (None, None))


def _remedy(problem: ErrorDetails, place: Sequence[int | str]) -> str:
    known = _texts(problem)[1]
    if known is not None:
        return known
    if isinstance(problem["input"], Mapping) or not place:  # its keys contradict each other
        return "Add or correct the keys that are named here."
    return f"Change the value of '{place[-1]}'."


def short(value: object, limit: int = 80) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def _is_tag(part: object, model: type[BaseModel] | None) -> bool:
    """Return whether pydantic added this part of a location for a member of a union."""
    return isinstance(part, str) and (
        part in {"bool", "float", "int", "str", "[key]"}
        or "[" in part
        or (model is not None and part[:1].isupper())
    )


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    types: list[object] = [model]
    for part in location:
        types = [inner for kind in types for inner in _step(kind, part)] or types
    models = [each for kind in types for each in _flatten(kind) if _is_model(each)]
    return {field.alias or name for each in models for name, field in each.model_fields.items()}


def _step(kind: object, part: int | str) -> Iterator[object]:
    for each in _flatten(kind):
        if _is_model(each):
            for name, field in each.model_fields.items():
                if part in (name, field.alias):
                    yield from _flatten(field.annotation)
            if part == each.__name__:
                yield each
        elif get_origin(each) in (dict, Mapping, list, tuple):
            yield from _flatten(get_args(each)[1 if get_origin(each) in (dict, Mapping) else 0])


def _flatten(kind: object) -> Iterator[object]:
    if get_origin(kind) in (dict, Mapping, list, tuple) or not get_args(kind):
        yield kind
        return
    for each in get_args(kind)[: 1 if get_origin(kind) is Annotated else None]:
        yield from _flatten(each)


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)

"""What a grader is, the registry of graders, and how one is built, checked and called.

This is the only place where a user's grader is entered: here its errors and its scores are checked.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field

from kingyo.core.io.model_names import HUB_NAME, absolute_name, is_local, local_path, split_revision
from kingyo.core.io.schema import parse_settings
from kingyo.core.types import Item, Media
from kingyo.errors import KingyoError, crash
from kingyo.registry import Registry

Answer = str | Media
Kind = Literal["texts", "images"]
"""What a grader grades."""
Arguments = tuple[Any, ...]
"""An answer and its item, answers and their items, or only items, for ``check``."""


class Grader(Protocol):
    """Scores an answer, a text or an image: 1 is right, 0 is wrong, values between are partly right.

    A grader is a function, or a frozen dataclass whose fields are its options. In the YAML ``{name: value}``
    sets the first option and ``{name: {option: value}}`` any of them. If its second parameter is called
    ``items``, it gets many answers and their items at once, and returns a score for each. Optional:

    - a method ``check(item)`` or ``check(items)``, which raises KingyoError for items that it cannot grade;
    - an option of the type ``FilePath``, or named in a class attribute ``paths``: a file or folder whose
      hashes a run stores, and that an export copies;
    - a class attribute ``libraries``: distributions whose versions a run stores;
    - a class attribute ``grades``: ``texts`` or ``images``. A built-in one without it grades texts.
    """

    def __call__(self, answer: Any, item: Item, /) -> float:
        """Return the score of a model's answer to an item."""
        ...


GRADERS: Registry[Callable[..., object]] = Registry("grader", "kingyo.tasks.graders", "kingyo.graders")
"""Graders by name. Plug-ins use the entry point group ``kingyo.graders``."""
DIGITS = 6
"""Digits of the scores of many answers. Later ones depend on the other images in a network's batch."""

G = TypeVar("G", bound=Callable[..., object])


def register_grader(name: str) -> Callable[[G], G]:
    def put(grader: G) -> G:
        GRADERS.register(name)(grader)
        return grader

    return put


def graders_of(kind: Kind) -> list[str]:
    return [name for name in GRADERS.names() if getattr(GRADERS.get(name), "grades", "texts") == kind]


def build_grader(name: str, option: object, folder: Path, grades: Kind = "texts") -> Callable[..., object]:
    """Build a grader; its option is None, a mapping of options, or the first option's value."""
    kind: object = GRADERS.get(name, folder)
    if getattr(kind, "grades", "texts" if GRADERS.is_registered(name) else grades) != grades:
        remedy = f"Use {', '.join(graders_of(grades))}, or a file of your own."
        raise KingyoError(f"grader {name}", f"a grader of {grades}", "one of other answers", remedy)
    grader = kind
    if isinstance(kind, type) and is_dataclass(kind):
        grader = cast(object, parse_settings(kind, option_values(kind, option), f"grader.{name}"))
        for each in fields(kind):
            place = partial(_absolute, where=f"grader.{name}: {each.name}", folder=folder)
            value = cast(object, getattr(grader, each.name))
            if moved(kind, {each.name: value}, place) != {each.name: value}:
                grader = replace(cast(Any, grader), **moved(kind, {each.name: value}, place))
    elif isinstance(kind, type) or not callable(cast(object, kind)):
        remedy = "Put @dataclass(frozen=True) above the class, or name a function."
        raise KingyoError(f"grader {name}", "a function or a dataclass", f"{kind!r:.80}", remedy)
    elif option is not None:
        remedy = f"Write only `{name}`, or make it a dataclass with this option."
        raise KingyoError(f"grader.{name}", "no option of a function", repr(option), remedy)
    try:
        if signature := _signature(cast("Callable[..., object]", grader)):
            signature.bind("the answer", "its item")
    except TypeError as error:
        remedy = "Write it as `def grade(answer, item)`, or `__call__(self, answer, item)` of a dataclass."
        expected = "a callable that takes an answer and an item"
        raise KingyoError(f"grader {name}", expected, str(error), remedy) from error
    return cast("Callable[..., object]", grader)


def option_values(kind: object, option: object) -> Mapping[str, object]:
    """Return what the YAML gives a grader as a mapping: a value alone is that of the first option."""
    if option is None or isinstance(option, Mapping):
        return cast("Mapping[str, object]", option or {})
    own = fields(kind) if isinstance(kind, type) and is_dataclass(kind) else ()
    return {own[0].name if own else "option": option}


def _absolute(path: str, where: str, folder: Path) -> str:
    name, _ = split_revision(path, folder)
    on_hub = None if is_local(name, folder) else HUB_NAME.fullmatch(name)
    if not is_local(path, folder) and (on_hub is None or on_hub["component"] is not None):
        received = f"{path!r:.80}, and no {local_path(path, folder).resolve()}"
        remedy = "Correct the path, which is relative to the file of the task."
        raise KingyoError(where, "a file or folder, or a model on the Hub (org/name)", received, remedy)
    return absolute_name(path, folder)


def _signature(call: Callable[..., object]) -> inspect.Signature | None:
    try:
        return inspect.signature(call)
    except ValueError:  # some callables written in C have none
        return None


def takes_many(call: Callable[..., object]) -> bool:
    """Return whether a grader or its ``check`` takes many items at once: a parameter is called ``items``."""
    signature = _signature(call)
    return signature is not None and any(name.strip("_") == "items" for name in signature.parameters)


def arguments_for(
    call: Callable[..., object], items: Sequence[Item], answers: Sequence[Answer] | None = None
) -> list[Arguments]:
    """Return the arguments of the calls that grade answers, or that only check items."""
    if takes_many(call):
        return [(items,) if answers is None else (answers, items)] if items else []
    return [(item,) for item in items] if answers is None else list(zip(answers, items, strict=True))


def place_of(name: str, arguments: Arguments) -> str:
    last = arguments[-1] if arguments else ()
    return f"grader {name} on item {last.id}" if isinstance(last, Item) else f"grader {name}"


def call_grader(name: str, call: Callable[..., object], arguments: Arguments) -> list[float]:
    """Call a grader in this process and return its scores; none of a ``check``, which gets only items."""
    where = place_of(name, arguments)
    try:
        result = call(*arguments)
        if len(arguments) == 1:
            return []
        answers, items = arguments
        if isinstance(items, Item):
            return [_score(result, where)]
        scores = [round(_score(each, where), DIGITS) for each in cast("Sequence[object]", result)]
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise crash_error(where, f"{crash(error):.1000}") from error
    if len(scores) != len(answers):
        received = f"{len(scores)} scores"
        remedy = "Return one for each answer, or call the second parameter `item` to get them one by one."
        raise KingyoError(where, f"{len(answers)} scores", received, remedy)
    return scores


def _score(score: object, where: str) -> float:
    try:
        number = math.nan if isinstance(score, str) else float(cast(float, score))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        number = math.nan
    if not 0 <= number <= 1:
        remedy = "Make the grader return 1 for right, 0 for wrong, or a number between."
        expected = "true, false or a number from 0 to 1"
        raise KingyoError(where, expected, f"{score!r:.200}", remedy)
    return number


def crash_error(where: str, reason: str) -> KingyoError:
    remedy = "Fix the grader. It gets an answer, which may be empty, and an item, or lists of both."
    return KingyoError(where, "a score", reason, remedy)


Place = Callable[[str], str]
"""Returns what to write in place of a path."""


@dataclass(frozen=True)
class IsPath:
    """Marks a type of options that are paths; ``known`` lists values of them that are not."""

    known: tuple[str, ...] = ()


FilePath = Annotated[str, Field(min_length=1), IsPath()]
"""A file or folder, relative to the file of the task."""


def moved(kind: object, options: Mapping[str, object], place: Place) -> dict[str, object]:
    """Return the options of a grader or a kind of task with other paths.

    Options are paths if their type in the dataclass ``kind`` says so, or if ``kind.paths`` names them.
    """
    types: dict[str, object] = dict.fromkeys(getattr(kind, "paths", ()), FilePath)
    with suppress(NameError, TypeError):  # a function, or types that ``parse_settings`` refuses
        types = get_type_hints(kind, include_extras=True) | types
    return {name: _moved(types.get(name), value, place) for name, value in options.items()}


def _moved(kind: object, value: object, place: Place) -> object:
    for part in _parts(kind):
        if isinstance(part, IsPath) and isinstance(value, str) and value and value not in part.known:
            return place(value)
        if isinstance(value, Mapping) and _has_fields(part):
            return moved(part, cast("Mapping[str, object]", value), place)
    return cast(object, value)


def _has_fields(part: object) -> bool:
    return is_dataclass(part) or (isinstance(part, type) and issubclass(part, BaseModel))


def _parts(kind: object) -> Iterator[object]:
    if get_args(kind) and get_origin(kind) not in (tuple, list, dict):
        for each in get_args(kind):
            yield from _parts(each)
    else:
        yield kind

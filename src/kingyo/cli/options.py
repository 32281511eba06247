"""Commands for typer, from functions: parameters become arguments and options, the docstring their help."""

import inspect
import re
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import wraps
from importlib import import_module
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

import typer

from kingyo.api.options import options_of
from kingyo.errors import KingyoError

F = TypeVar("F", bound=Callable[..., None])

_DOC = re.compile(r"^    (\w+)(?: \((.+?)\))?: (.+(?:\n {8,}.+)*)", re.MULTILINE)
_SHARED = {
    "run": "the run folder.",
    "model": "a folder or a Hub name; model+lora adds a LoRA.",
    "as_json": "print JSON instead of text.",
    "allow_pickle": "read weights that exist only as pickles. Code in a pickle is never run.",
    "kind": "kind of model, if config.json does not show it; see `kingyo list kinds`.",
}
"""Help of parameters that several commands have."""
_FLAGS = {
    "as_json": ("--json",),
    "count": ("--count", "-n"),
    "form": ("--as",),
    "out": ("--out", "-o"),
    "remote_code": ("--trust-remote-code",),
}
"""Names of options that are not those of their parameters."""


class Between(NamedTuple):
    """The range of a number, for ``Annotated``."""

    min: float
    max: float | None = None


Positive = Annotated[int, Between(1)]


@contextmanager
def writing(option: str) -> Generator[None]:
    """Name the option of a file that cannot be written."""
    try:
        yield
    except OSError as error:
        received = error.strerror or str(error)
        raise KingyoError(option, "a file that can be written", received, "Name another file.") from error


@contextmanager
def as_flags(*arguments: str) -> Generator[None]:
    """Name some arguments of the API as flags, in an error."""
    try:
        yield
    except KingyoError as error:
        if error.argument not in arguments:
            raise
        flag = _flag(error.argument.rpartition(" ")[2])
        raise KingyoError(flag, error.expected, error.received, error.remedy) from error


def declared(place: str, without: Collection[str] = ()) -> Callable[[F], F]:
    """Give a command the fields of a dataclass as options; it gets the object as its argument ``options``.

    Of a pydantic model, it gets the valid values of these fields, by name. The class is imported when the
    command is called; its docstring has the help. ``place`` is its module and its name.
    """

    def decorate(command: F) -> F:
        vars(command)["declared"] = place, without
        return command

    return decorate


def as_command(command: Callable[..., None]) -> Callable[..., None]:
    """Return a function as typer takes it: arguments are its parameters before ``*``, options those after it.

    Their help is under ``Args:``, with the name of a value in brackets: ``candidates (+N): try N more.``
    """
    place, without = vars(command).get("declared", ("builtins:object", ()))
    module, _, name = place.partition(":")
    kind: type = getattr(import_module(module), name)
    fields = [] if kind is object else options_of(kind, without)
    command.__annotations__["options"] = kind  # its own is for type checkers only
    text, _, args = (inspect.getdoc(command) or "").partition("\n\nArgs:\n")
    docs = {**_SHARED, **{name: " ".join(doc.split()) for name, _, doc in _DOC.findall(args)}}
    metavars = {name: metavar for name, metavar, _ in _DOC.findall(args)}
    parameters = [_parameter(each.name, each.type, each.default, {"help": each.doc}) for each in fields]
    hints, bounded = get_type_hints(command), get_type_hints(command, include_extras=True)
    for each in inspect.signature(command).parameters.values():
        if each.name != "options":
            name, is_argument = each.name, each.kind is not each.KEYWORD_ONLY
            metavar = metavars.get(name) or (name.upper() if is_argument else None)
            shown = {"help": docs[name], "metavar": metavar, **_bounds(bounded[name])}
            parameters.append(_parameter(name, hints[name], each.default, shown, is_argument=is_argument))

    @wraps(command)
    def run(**values: Any) -> None:
        own = {each.name: values.pop(each.name) for each in fields}
        command(**({"options": _checked(kind, own)} if fields else {}), **values)

    run.__doc__ = text
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameter(
    name: str, hint: Any, default: Any, shown: Mapping[str, Any], *, is_argument: bool = False
) -> inspect.Parameter:
    text = shown["help"].replace("``", "`").rstrip(".")
    settings: dict[str, Any] = {**shown, "help": f"{text[:1].upper()}{text[1:]}."}
    first, *others = _FLAGS.get(name, (_flag(name),))
    if default is True or (default is None and hint == bool | None):
        first = f"{first}/--no-{first[2:]}"
    info = typer.Argument(**settings) if is_argument else typer.Option(first, *others, **settings)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[hint, info])


def _flag(name: str) -> str:
    return _FLAGS.get(name, (f"--{name.replace('_', '-')}",))[0]


def _bounds(hint: Any) -> Mapping[str, Any]:
    extras = [each for part in (hint, *get_args(hint)) for each in getattr(part, "__metadata__", ())]
    return next((each._asdict() for each in extras if isinstance(each, Between)), dict[str, Any]())


def _checked(kind: type[object], values: Mapping[str, Any]) -> Any:
    """Return the object of some fields, or valid values of a pydantic model; an error names the flag."""
    from pydantic import TypeAdapter, ValidationError

    from kingyo.core.io.schema import find_mistakes

    with as_flags(*values):
        if is_dataclass(kind):
            return kind(**values)
        types = get_type_hints(kind, include_extras=True)
        for name, value in values.items():
            try:
                TypeAdapter(types[name]).validate_python(value)
            except ValidationError as error:
                raise find_mistakes(error, name)[0] from error
    return values

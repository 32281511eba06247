"""Arguments and options of commands: those that several share, and those that a dataclass declares."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.api.options import Option

F = TypeVar("F", bound=Callable[..., None])

TRIALS = "12, random:12, parameters:12 (weight search of a hybrid run), or a baseline such as uniform"

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder or a Hub name; model+lora adds a LoRA.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle", help="Read weights that exist only as pickles. Code in a pickle is never run."
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", help="Kind of model, if config.json does not show it; see `kingyo list kinds`."),
]


def require_writable(option: str, file: Path, is_earlier: Callable[[bytes], bool]) -> None:
    """Refuse an output that is not a new file or an earlier output, by the beginning of its content."""
    begins = b""
    if file.is_file():
        with file.open("rb") as stream:
            begins = stream.read(1 << 20)
    is_new = not file.exists() and file.parent.is_dir()
    if not is_new and not (file.is_file() and is_earlier(begins)):
        expected = "a new file in an existing folder, or an earlier output of this command"
        raise KingyoError(option, expected, str(file), "Name another file.")
    if not os.access(file.parent, os.W_OK):
        raise unwritable(option, f"{file}, in a read-only folder")


def unwritable(option: str, received: str) -> KingyoError:
    expected, remedy = "a file that can be written", "Name another file."
    return KingyoError(option, expected, received, remedy)


@dataclass(frozen=True, kw_only=True)
class _Declared:
    """The options of a command that a dataclass declares; ``place`` is its module and its name."""

    place: str
    only: Sequence[str]
    flags: Mapping[str, Mapping[str, Any]]


def declared(place: str, *only: str, **flags: Mapping[str, Any]) -> Callable[[F], F]:
    """Give a command the fields of a dataclass as options; it gets the object as its argument ``options``.

    Of a pydantic model, it gets the valid values of these fields, by name. The class is imported when the
    command is called. Its docstring has the help texts.

    Args:
        place: module and name of the class.
        only: fields that become options. Default: all.
        flags: field -> settings of ``typer.Option``; ``names`` replaces the name of the flag.
    """

    def decorate(command: F) -> F:
        vars(command)["declared"] = _Declared(place=place, only=only, flags=flags)
        return command

    return decorate


def with_declared(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options that ``declared`` gave it as parameters."""
    from kingyo.api.options import options_of

    given: _Declared | None = vars(command).get("declared")
    if given is None:
        return command
    module, _, name = given.place.partition(":")
    kind: type = getattr(import_module(module), name)
    options = [each for each in options_of(kind) if not given.only or each.name in given.only]
    flags = {
        each.name: given.flags.get(each.name, {}).get("names", (f"--{each.name.replace('_', '-')}",))[0]
        for each in options
    }
    command.__annotations__["options"] = kind  # its own is for type checkers only
    make = kind if is_dataclass(kind) else partial(_valid, kind, flags)
    own = [
        each for key, each in inspect.signature(command, eval_str=True).parameters.items() if key != "options"
    ]
    added = [_parameter(each, flags[each.name], given.flags.get(each.name, {})) for each in options]

    @wraps(command)
    def run(**values: Any) -> None:
        fields = {each.name: values.pop(each.name) for each in options}
        try:
            made = make(**fields)
        except KingyoError as error:
            argument = flags.get(error.argument, error.argument)
            raise KingyoError(argument, error.expected, error.received, error.remedy) from error
        command(options=made, **values)

    arguments = [each for each in own if each.default is each.empty]
    ordered = [*arguments, *added, *(each for each in own if each not in arguments)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature([each.replace(kind=keyword) for each in ordered])  # pyright: ignore
    run.__annotations__ = {each.name: each.annotation for each in ordered}
    return run


def _valid(kind: type, flags: Mapping[str, str], /, **values: Any) -> dict[str, Any]:
    """Check values by the types of a model's fields; an error names the flag."""
    from pydantic import TypeAdapter, ValidationError

    from kingyo.core.io.schema import find_mistakes

    types = get_type_hints(kind, include_extras=True)
    for name, value in values.items():
        try:
            TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            raise find_mistakes(error, flags[name])[0] from error
    return values


def _parameter(option: Option, flag: str, settings: Mapping[str, Any]) -> inspect.Parameter:
    doc = option.doc.replace("``", "`")
    text = f"{doc[:1].upper()}{doc[1:]}".rstrip(".") + "."
    named: dict[str, Any] = {key: value for key, value in settings.items() if key != "names"}
    named = {"help": text, **named}
    info = typer.Option(*settings.get("names", (flag,)), **named)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[option.type, info],
    )

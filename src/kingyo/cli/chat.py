"""The command ``chat``."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from kingyo.cli.evaluate import REMOTE_CODE, load_model
from kingyo.cli.options import Kind, Model, declared
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.models.kinds import LoadOptions, ModelKind
    from kingyo.types import GeneratesText, Media

_IMAGE = "/image"


@declared("kingyo.models.kinds:LoadOptions", "device", "remote_code", "allow_pickle", remote_code=REMOTE_CODE)
def chat(
    options: LoadOptions,
    model: Model,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt template with {prompt}, for models without a chat template.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer. Repeatable.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of an answer.")] = 256,
    image: Annotated[list[Path] | None, typer.Option(help="Image to ask about. Repeatable.")] = None,
    kind: Kind = None,
) -> None:
    """Ask a model questions, one per line. An empty line or Ctrl-D ends the chat.

    Questions are independent: the model does not see earlier ones. The prompt is
    the model's chat template or --prompt. If an exported model was scored with
    another prompt, chat shows that prompt but does not use it.

    A vision-language model sees the images of --image with every question. The
    line `/image a.png b.png` replaces them, and `/image` removes them.

    Example: `kingyo chat my-model --prompt "{prompt}\\n"`
    """
    if prompt is not None and "{prompt}" not in prompt:
        raise KingyoError(
            "--prompt",
            expected="a template with {prompt}",
            received=repr(prompt),
            remedy=r"Put {prompt} where the question belongs, such as --prompt 'Q: {prompt}\nA:'.",
        )
    from kingyo.models.kinds import require_needs
    from kingyo.tasks.media import image_file
    from kingyo.types import AnswersImages, GeneratesText

    images = [image_file(each) for each in image or ()]

    def check(kind: ModelKind) -> None:
        require_needs("kingyo chat", GeneratesText, kind)
        if images:
            require_needs("--image", AnswersImages, kind)

    live = cast(GeneratesText, load_model(model, kind, check, options))
    template = None if prompt is None else prompt.replace("\\n", "\n")
    if template is None:
        _require_chat_template(live)
        _note_task_prompt(Path(model), live)
    how = {"max_new_tokens": max_new_tokens, "stop": stop or []}
    failed = False
    while question := _read_line():
        if question.split()[0] == _IMAGE and isinstance(live, AnswersImages):
            images = _read_images(question, images)
            continue
        message = question if template is None else template.replace("{prompt}", question)
        try:
            echo(_answer(live, message, images, is_chat=template is None, **how))
        except KingyoError as error:  # the next question may do better, and loading a model takes long
            failed = True
            echo(f"Error: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _answer(
    live: GeneratesText, message: str, images: Sequence[Media], *, is_chat: bool, **options: Any
) -> str:
    from kingyo.types import AnswersImages

    if images and isinstance(live, AnswersImages):
        about = live.image_prompt(message, images, chat=is_chat)
        return live.write_about([about], **options)[0].text
    return live.generate([live.chat_prompt(message) if is_chat else message], **options)[0]


def _read_images(line: str, before: list[Media]) -> list[Media]:
    from kingyo.tasks.media import image_file

    try:
        return [image_file(Path(each)) for each in shlex.split(line)[1:]]
    except KingyoError as error:
        echo(f"Error: {error}", err=True)
    except ValueError as error:
        echo(f"Error: /image: expected paths; received {error}. Close every quote.", err=True)
    return before


def _read_line() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _note_task_prompt(model: Path, live: GeneratesText) -> None:
    """Print the prompt that an exported model was scored with, unless its chat template gives the same."""
    from kingyo.io.yaml import read_yaml

    file = model / "task.yaml"
    try:
        task = read_yaml(file)
    except KingyoError:  # no such file, or an unrelated one
        return
    is_vqa = task.get("kind") == "vqa"
    prompt = str(task.get("prompt", "{question}" if is_vqa else "{prompt}"))
    field = re.search(r"{\w+}", prompt)
    scored = live.chat_prompt(prompt) if task.get("chat", is_vqa) is True else prompt
    if field is None or scored != live.chat_prompt(field[0]):
        text = json.dumps(prompt, ensure_ascii=False)
        echo(f"Note: the model was scored with the prompt {text}, see {file}; --prompt sets one.", err=True)


def _require_chat_template(live: GeneratesText) -> None:
    from kingyo.models.tokens import NoTemplateError

    try:
        live.chat_prompt("Hello.")
    except NoTemplateError as error:
        raise KingyoError(
            "--prompt",
            expected="a template, because the model has no chat template",
            received="nothing",
            remedy="Add --prompt '{prompt}', with text around {prompt} if the model needs it.",
        ) from error

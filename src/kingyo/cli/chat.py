"""The command ``chat``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kingyo.cli.options import AllowPickle, Device, Kind, Model, TrustRemoteCode
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.types import GeneratesText


def chat(
    model: Model,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="Prompt template with {prompt}, for models without a chat template."),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Text that ends an answer. Repeatable.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Maximum length of an answer.")
    ] = 256,
    device: Device = "cpu",
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
) -> None:
    """Ask a model questions, one per line. An empty line or Ctrl-D ends the chat.

    Questions are independent: the model does not see earlier ones. The prompt is
    the model's chat template or --prompt. If an exported model was scored with
    another prompt, chat shows that prompt but does not use it.

    Example: `kingyo chat my-model --prompt "{prompt}\\n"`
    """
    if prompt is not None and "{prompt}" not in prompt:
        raise KingyoError(
            "--prompt",
            expected="a template with {prompt}",
            received=repr(prompt),
            remedy=r"Put {prompt} where the question belongs, such as --prompt 'Q: {prompt}\nA:'.",
        )
    _require_no_run(Path(model))
    from kingyo.cli.evaluate import load_model
    from kingyo.models.kinds import LoadOptions, require_needs
    from kingyo.types import GeneratesText

    def check(kind: ModelKind) -> None:
        require_needs("kingyo chat", GeneratesText, kind)
        if prompt is None:
            _note_task_prompt(Path(model))

    options = LoadOptions(device=device, remote_code=trust_remote_code, allow_pickle=allow_pickle)
    live = cast(GeneratesText, load_model(model, kind, check, options))
    template = None if prompt is None else prompt.replace("\\n", "\n")
    if template is None:
        _require_chat_template(live)
    while question := _read_question():
        text = live.chat_prompt(question) if template is None else template.replace("{prompt}", question)
        echo(live.generate([text], max_new_tokens=max_new_tokens, stop=stop or [])[0])


def _read_question() -> str:
    """Read a line; return an empty text at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _require_no_run(folder: Path) -> None:
    from kingyo.store import DATABASE

    if (folder / DATABASE).is_file():
        raise KingyoError(
            str(folder),
            expected="a model",
            received="a run",
            remedy=f"Export a model with `kingyo export {shlex.quote(str(folder))} OUT`, then chat with OUT.",
        )


def _note_task_prompt(model: Path) -> None:
    """Print the prompt that an exported model was scored with, if chat uses another."""
    from kingyo.io.yaml import read_yaml

    file = model / "task.yaml"
    task: Mapping[str, object] | None = None
    with suppress(KingyoError):  # no such file, or an unrelated one
        task = read_yaml(file)
    if task is None:
        return
    prompt, is_chat = task.get("prompt", "{prompt}"), task.get("chat") is True
    if is_chat and prompt == "{prompt}":
        return
    text = json.dumps(prompt, ensure_ascii=False)
    template = " in the chat template" if is_chat else ""
    remedy = "type each question in this form" if is_chat else "use --prompt with {prompt} for the question"
    echo(
        f"Note: the model was scored with the prompt {text}{template} ({file}). To do the same, {remedy}.",
        err=True,
    )


def _require_chat_template(live: GeneratesText) -> None:
    """Refuse a model without a chat template before the first question."""
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

"""The command ``chat``."""

from __future__ import annotations

import json
import sys
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
    while question := _read_line():
        text = live.chat_prompt(question) if template is None else template.replace("{prompt}", question)
        echo(live.generate([text], max_new_tokens=max_new_tokens, stop=stop or [])[0])


def _read_line() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _note_task_prompt(model: Path) -> None:
    """Print the prompt that an exported model was scored with, if chat uses another."""
    from kingyo.io.yaml import read_yaml

    file = model / "task.yaml"
    try:
        task = read_yaml(file)
    except KingyoError:  # no such file, or an unrelated one
        return
    prompt = task.get("prompt", "{prompt}")
    if task.get("chat") is not True or prompt != "{prompt}":
        text = json.dumps(prompt, ensure_ascii=False)
        echo(f"Note: the model was scored with the prompt {text}, see {file}; --prompt sets one.", err=True)


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

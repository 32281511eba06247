"""The commands that ask one model: ``evaluate`` and ``chat``."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kingyo.cli.options import Positive, as_flags, declared, writing
from kingyo.cli.output import echo, errors_beside, print_json
from kingyo.cli.run import note_versions
from kingyo.core.io.files import write_bytes, write_text
from kingyo.core.types import MEDIA
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.api.scoring import ModelScores
    from kingyo.models.kinds import LoadOptions


@declared("kingyo.models.kinds:LoadOptions", without=("dtype", "scratch"))
def evaluate(
    options: LoadOptions,
    model: str,
    task: Path,
    *,
    split: str | None = None,
    kind: str | None = None,
    answers: Path | None = None,
    as_json: bool = False,
) -> None:
    """Score a model on a task and print the score with its confidence interval.

    With a run folder as the task, the items are those of the run. With several
    tasks, each is scored, then their weighted mean. --kind overrides the `kind`
    of a run or run.yaml.

    Example: `kingyo evaluate my-model task.yaml --split test`

    Args:
        task (TASK.yaml): a task file, a run.yaml or a run folder.
        split: fit, validation, test or all. Default: test.
        answers: also write all answers to this JSONL file; pictures go to a folder named media next to it.
    """
    if answers is not None:
        is_earlier = answers.is_file() and answers.read_bytes().startswith(b'{"id": ')
        if not answers.parent.is_dir() or (answers.exists() and not is_earlier):
            expected = "a new file in an existing folder, or earlier answers"
            raise KingyoError("--answers", expected, str(answers), "Name another file.")
    from kingyo.api.scoring import evaluate as score
    from kingyo.cli.progress import Counts
    from kingyo.store import RunStore

    if task.is_dir():
        with RunStore.read(task) as store:
            status = store.status()
            if split is None and status != "finished":
                expected = "a finished run, whose test split has been read"
                remedy = f"Continue it with `kingyo resume {shlex.quote(str(task))}`, or add --split."
                raise KingyoError(str(task), expected, f"a run that is {status}", remedy)
            note_versions(store, "evaluated")
    split = "test" if split is None else split
    with as_flags("split"), redirect_stdout(sys.stderr), Counts(quiet=as_json) as progress:
        scores = score(model, task, split=split, kind=kind, progress=progress, **asdict(options))
    record = scores.to_json()
    with errors_beside(record) if as_json else nullcontext():
        try:
            if answers is not None:
                _write_answers(answers, scores)
        finally:
            if as_json:
                print_json(record)
            else:
                _print_scores(scores)


def _print_scores(scores: ModelScores) -> None:
    from kingyo.stats import mean_name
    from kingyo.tasks import weights_of

    by_task = scores.by_task
    of = f"{scores.model} on"
    lines = {f"{of} {name or scores.task.name} ({scores.split})": each for name, each in by_task.items()}
    if len(by_task) > 1:
        mean = mean_name(list(weights_of(scores.task).values()))
        lines[f"{mean.capitalize()} of {len(by_task)} tasks"] = scores.score
    for name, each in lines.items():
        echo(f"{name}: {each.in_percent('%')}, n = {each.size}")
    if cut := sum(each.is_cut for each in scores.scores):
        echo(f"{cut:,} of {len(scores.scores):,} answers were cut at max_new_tokens.")


def _write_answers(path: Path, scores: ModelScores) -> None:
    pictures = {each.media.name: each.media for each in scores.scores if each.media is not None}
    lines = (json.dumps(each, ensure_ascii=False) for each in scores.answers())
    with writing("--answers"):
        for name, picture in pictures.items():
            write_bytes(path.parent / MEDIA / name, picture.read())
        write_text(path, "".join(f"{line}\n" for line in lines))


@declared("kingyo.models.kinds:LoadOptions", without=("dtype", "batch_size", "scratch"))
def chat(
    options: LoadOptions,
    model: str,
    *,
    prompt: str | None = None,
    stop: list[str] | None = None,
    max_new_tokens: Positive = 256,
    image: list[Path] | None = None,
    kind: str | None = None,
) -> None:
    """Ask a model questions, one per line. An empty line or Ctrl-D ends the chat.

    Questions are independent: the model does not see earlier ones. The prompt is
    the model's chat template or --prompt. The task.yaml of an exported model has
    the prompt that it was scored with.

    Example: `kingyo chat my-model --prompt "{prompt}\\n"`

    Args:
        prompt: prompt template with {prompt}, for models without a chat template.
        stop: text that ends an answer. Repeatable.
        max_new_tokens: maximum length of an answer.
        image: image that the model sees with every question. Repeatable.
    """
    if prompt is not None and "{prompt}" not in prompt:
        remedy = r"Put {prompt} where the question belongs, such as --prompt 'Q: {prompt}\nA:'."
        raise KingyoError("--prompt", "a template with {prompt}", repr(prompt), remedy)
    from kingyo.core.types import AnswersImages, GeneratesText
    from kingyo.models.kinds import require_needs
    from kingyo.models.tokens import NoTemplateError
    from kingyo.runs.model_kind import load_checkpoint, open_alone
    from kingyo.tasks.rows import image_file

    images = [image_file(each) for each in image or ()]
    checkpoint, found = open_alone(model, kind, allow_pickle=options.allow_pickle)
    require_needs("kingyo chat", GeneratesText, found)
    if images:
        require_needs("--image", AnswersImages, found)
    live = cast(GeneratesText, load_checkpoint(checkpoint, found, options))
    template, is_chat = (prompt or "").replace("\\n", "\n"), prompt is None
    try:
        if is_chat:
            live.chat_prompt("Hello.")
    except NoTemplateError as error:
        expected = "a template, because the model has no chat template"
        remedy = "Add --prompt '{prompt}', with text around {prompt} if the model needs it."
        raise KingyoError("--prompt", expected, "nothing", remedy) from error
    how: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop": stop or []}
    while question := _read_line():
        message = question if is_chat else template.replace("{prompt}", question)
        try:
            if images and isinstance(live, AnswersImages):
                about = live.image_prompt(message, images, chat=is_chat)
                answer = live.write_about([about], **how)[0].text
            else:
                answer = live.generate([live.chat_prompt(message) if is_chat else message], **how)[0]
            echo(answer)
        except KingyoError as error:  # the next question may do better, and loading a model takes long
            echo(f"Error: {error}", err=True)


def _read_line() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""

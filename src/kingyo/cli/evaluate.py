"""Commands on a model: evaluate, chat."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, suggest
from kingyo.io.files import write_text

if TYPE_CHECKING:
    from kingyo.models.kinds import Live, LoadOptions, ModelKind
    from kingyo.stats import Interval
    from kingyo.types import GeneratesText, Item, ItemScore, Split, Task

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder, or a name on the Hub; model+lora adds a LoRA.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let transformers run the Python files beside the model.")
]
Device = Annotated[str, typer.Option("--device", help="Where the model runs, such as cpu or cuda.")]

Kind = Annotated[
    str | None,
    typer.Option("--kind", help="Kind of model, where config.json does not say it: see `kingyo list kinds`."),
]

AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle", help="Read weights that are there only as pickles; their code is never run."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(evaluate)
    app.command()(chat)


def evaluate(
    model: Model,
    task: Annotated[
        Path, typer.Argument(metavar="TASK.yaml", help="A task file, a run.yaml, or a run folder.")
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="fit, validation, test, or all.  \\[default: test]")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 128,
    device: Device = "cpu",
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Also write every answer to this JSONL file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Score a model on a task, with the interval of the score.

    With a run folder in place of the task file, the items are exactly those of the run. Of several tasks
    each is scored, then their weighted mean. Without --kind, a `kind:` of the run or the run.yaml counts.

    Example: `kingyo evaluate my-model task.yaml --split test`
    """
    if split is None:
        _require_tested(task)
    if answers is not None and (answers.is_dir() or not answers.parent.is_dir()):
        raise _unwritable("a folder" if answers.is_dir() else f"no folder {answers.parent}")
    from kingyo.models.kinds import LoadOptions
    from kingyo.run.open_task import kind_in

    chosen = split or "test"
    options = LoadOptions(
        device=device, batch_size=batch_size, remote_code=trust_remote_code, allow_pickle=allow_pickle
    )
    with redirect_stdout(sys.stderr):  # what a grader prints is not the answer
        named = kind or kind_in(task)
        built, items, scores = _scored(task, chosen, lambda check: _load(model, named, check, options))
    if answers is not None:
        _write_answers(answers, items, scores)
    _print_score(model, built, chosen, _by_task(built, items, scores), as_json=as_json)
    cut = sum(each.is_cut for each in scores)
    if cut and not as_json:
        echo(f"{cut:,} of {len(scores):,} answers were cut at max_new_tokens.")


def _scored(
    task: Path, split: str, load: Callable[[Callable[[ModelKind], None]], Live]
) -> tuple[Task, Sequence[Item], Sequence[ItemScore]]:
    """The task, its items of a split, and their scores."""
    from kingyo.cli.advice import tell_versions
    from kingyo.run.model_kind import require_answers
    from kingyo.run.open_task import open_task
    from kingyo.runners.evaluate import scores_of
    from kingyo.store import RunStore

    built = open_task(task)
    if task.is_dir():
        with RunStore.read(task) as store:
            tell_versions(store, "evaluated")
    items = _items(built, split)
    return built, items, scores_of(built, load(partial(require_answers, built)), items)


def _load(model: str, named: str | None, check: Callable[[ModelKind], None], options: LoadOptions) -> Live:
    """A model, and its LoRA if it has one, once its kind, the named one if any, was checked."""
    from kingyo.run.model_kind import load_checkpoint, open_alone

    checkpoint, kind = open_alone(model, named, allow_pickle=options.allow_pickle)
    check(kind)
    return load_checkpoint(checkpoint, kind, options)


def _by_task(built: Task, items: Sequence[Item], scores: Sequence[ItemScore]) -> dict[str, Interval]:
    from kingyo.stats import interval
    from kingyo.tasks import weights_of

    pairs = list(zip(scores, items, strict=True))
    return {
        name: interval([score.score for score, item in pairs if item.task == name], seed=0)
        for name in weights_of(built)
    }


def _print_score(
    model: str, built: Task, split: str, by_task: Mapping[str, Interval], *, as_json: bool
) -> None:
    from kingyo.results.summary_json import interval_json
    from kingyo.stats import mean_name, weighted_mean
    from kingyo.tasks import weights_of

    weights = list(weights_of(built).values())
    result = weighted_mean(list(by_task.values()), weights)
    if as_json:
        found = {"model": model, "task": built.name, "split": split, **(interval_json(result) or {})}
        if len(by_task) > 1:
            found["tasks"] = {name: interval_json(each) for name, each in by_task.items()}
        print_json(found)
    elif len(by_task) > 1:
        for name, each in by_task.items():
            echo(f"{model} on {name} ({split}): {_in_words(each)}")
        echo(f"{mean_name(weights).capitalize()} of {len(by_task)} tasks: {_in_words(result)}")
    else:
        echo(f"{model} on {built.name} ({split}): {_in_words(result)}")


def chat(
    model: Model,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="A template with {prompt}, for models without a chat template."),
    ] = None,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="Text that ends an answer.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 256,
    device: Device = "cpu",
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
) -> None:
    """Talk to a model; each line is a question of its own. An empty line or Ctrl-D ends it.

    A line is asked as it stands, through the model's chat template or --prompt. The prompt of the run that an
    exported model comes from is shown, and not applied.

    Example: `kingyo chat my-model --prompt "{prompt}\\n"`
    """
    if prompt is not None and "{prompt}" not in prompt:
        raise KingyoError(
            "--prompt",
            expected="a template with {prompt} in it",
            received=repr(prompt),
            remedy=r"Put {prompt} where the question belongs, such as --prompt 'Q: {prompt}\nA:'.",
        )
    from kingyo.models.kinds import LoadOptions, require_needs
    from kingyo.types import GeneratesText

    _require_no_run(Path(model))

    def check(kind: ModelKind) -> None:
        require_needs("kingyo chat", GeneratesText, kind)
        if prompt is None:
            _tell_prompt_of_task(Path(model))

    options = LoadOptions(device=device, remote_code=trust_remote_code, allow_pickle=allow_pickle)
    live = cast(GeneratesText, _load(model, kind, check, options))
    template = None if prompt is None else prompt.replace("\\n", "\n")
    if template is None:
        _require_chat_template(live)
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not line:
            return
        text = live.chat_prompt(line) if template is None else template.replace("{prompt}", line)
        echo(live.generate([text], max_new_tokens=max_new_tokens, stop=stop or [])[0])


def _require_no_run(folder: Path) -> None:
    from kingyo.store import DATABASE

    if (folder / DATABASE).is_file():
        raise KingyoError(
            str(folder),
            expected="a model",
            received="a run",
            remedy=f"Export its best model by `kingyo export {shlex.quote(str(folder))} OUT`; chat with OUT.",
        )


def _tell_prompt_of_task(model: Path) -> None:
    """Show the prompt that an exported model was scored with, if a chat asks differently."""
    from kingyo.io.yaml import read_yaml

    file = model / "task.yaml"
    task: Mapping[str, object] | None = None
    with suppress(KingyoError):  # none there, or a file of somebody else
        task = read_yaml(file)
    if task is None:
        return
    prompt, is_chat = task.get("prompt", "{prompt}"), task.get("chat") is True
    if not is_chat or prompt != "{prompt}":
        said = json.dumps(prompt, ensure_ascii=False)
        through = " through the chat template" if is_chat else ""
        how = (
            "type each question in these words" if is_chat else "use --prompt with {prompt} for the question"
        )
        echo(f"Note: {file} asks {said}{through}; to ask the same way, {how}.", err=True)


def _require_chat_template(live: GeneratesText) -> None:
    """Without one, or a template in its place, no question can be asked: say so before the first."""
    from kingyo.models.chat import NoTemplateError

    try:
        live.chat_prompt("Hello.")
    except NoTemplateError as error:
        raise KingyoError(
            "--prompt",
            expected="a template, since the model has no chat template",
            received="nothing",
            remedy="Say --prompt '{prompt}', or put words of your own around {prompt}.",
        ) from error


def _in_words(result: Interval) -> str:
    return f"{result.in_percent(' %')}, n={result.n}"


def _require_tested(task: Path) -> None:
    """The test split of a run that is under way is not read by accident."""
    from kingyo.store import RunStore

    if not task.is_dir():
        return
    with RunStore.read(task) as store:
        status = store.status()
    if status != "finished":
        raise KingyoError(
            str(task),
            expected="a finished run: its test split is read once, at the end",
            received=f"one that is {status}",
            remedy=f"Go on with `kingyo resume {shlex.quote(str(task))}`, or give --split.",
        )


def _items(task: Task, split: str) -> Sequence[Item]:
    from kingyo.types import SPLITS

    if split == "all":
        return [item for each in SPLITS for item in task.items(each)]
    if split not in SPLITS:
        known = (*SPLITS, "all")
        raise KingyoError(
            "--split",
            expected=f"one of {', '.join(known)}",
            received=f"'{split}'",
            remedy=f"{suggest(split, known)} Leave --split out to score on test.",
        )
    chosen: Split = split
    return task.items(chosen)


def _write_answers(path: Path, items: Sequence[Item], scores: Sequence[ItemScore]) -> None:
    lines = [
        json.dumps(
            {
                "id": item.id,
                **({"task": item.task} if item.task else {}),
                "prompt": item.prompt,
                **({"images": item.images} if item.media else {}),
                "reference": item.answer,
                "answer": each.answer,
                "score": each.score,
                "cut": each.is_cut,
            },
            ensure_ascii=False,
        )
        for item, each in zip(items, scores, strict=True)
    ]
    try:
        write_text(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise _unwritable(str(error)) from error


def _unwritable(received: str) -> KingyoError:
    return KingyoError(
        "--answers",
        expected="a file that can be written",
        received=received,
        remedy="Name a file in a folder that you may write to.",
    )

"""Every command, as a user types it, on real files."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from kingyo.cli import app
from kingyo.runs.config_file import load_config
from kingyo.store import RunStore
from kingyo.tasks import TaskSpec
from tests.cli.conftest import World, command
from tests.cli.typed import typed


def test_help_of_every_command_has_an_example() -> None:
    names = "init evolve resume show report export merge scout evaluate chat list"
    for name in names.split():
        done = CliRunner().invoke(app, [name, "--help"])
        assert done.exit_code == 0 and f"kingyo {name} " in done.stdout, name


def test_evolve_ends_with_a_table_and_what_to_do_next(world: World) -> None:
    done = world.ok("evolve", world.config(budget={"candidates": 6}), "--run", "my r")
    then = ("kingyo report 'my r'", "kingyo export 'my r' OUT")
    for word in ("bred (trial", "uniform", "random, same cost", *then):
        assert word in done.stdout
    assert "Baselines on fit" in done.stderr


def test_a_terminal_of_ascii_will_do(finished: World) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = finished.ok("show", "runs/small", env=plain, fresh=True)
    assert "uniform" in done.stdout


def test_show_json_is_the_stable_interface(finished: World) -> None:
    shown = finished.show("runs/small")
    keys = {"run", "status", "trials", "failures", "item_evaluations", "seconds", "winner", "baselines"}
    assert keys <= set(shown)
    assert shown["status"] == "finished"
    assert shown["trials"] == 24
    winner = shown["winner"]
    assert isinstance(winner, dict)
    assert {"trial", "genome", "recipe", "fit", "validation", "test"} <= set(winner)
    assert set(winner["test"]) == {"score", "n", "low", "high"}
    assert winner["test"]["n"] == 12
    assert winner["test"]["low"] <= winner["test"]["score"] <= winner["test"]["high"]
    baselines = shown["baselines"]
    assert isinstance(baselines, dict)
    assert set(baselines) == {"base", "a", "b", "uniform"}
    for scores in baselines.values():
        assert set(scores) == {"fit", "validation", "test"}


def test_exported_and_evaluated_again_it_gives_the_stored_answers(finished: World) -> None:
    finished.ok("export", "runs/small", "bred", "--search", "main")
    (finished.folder / "answers.jsonl").write_text('{"id": "an earlier answer"}\n')
    done = finished.ok("evaluate", "bred", "runs/small", "--answers", "answers.jsonl", "--json")
    shown = finished.show("runs/small")
    scored = json.loads(done.stdout)
    assert {key: scored[key] for key in ("score", "n", "low", "high")} == shown["winner"]["test"]
    with RunStore.read(finished.folder / "runs" / "small") as store:
        winner = store.winner("main")
        evaluation = None if winner is None else store.evaluation(winner.id, "test")
    assert evaluation is not None
    rows = map(json.loads, (finished.folder / "answers.jsonl").read_text().splitlines())
    answers = [(row["id"], row["answer"], row["score"]) for row in rows]
    assert answers == [(each.item, each.answer, each.score) for each in evaluation.scores]


def test_a_method_from_a_user_file(world: World) -> None:
    code = "from kingyo.merging.methods.linear import TaskArithmetic\n\nMINE = TaskArithmetic()\n"
    (world.folder / "mine.py").write_text(code)
    merge = {"method": "mine.py:MINE", "parameters": {"weight": {"from": 0, "to": 1}}}
    config = world.config(merge=merge, budget={"candidates": 2}, controls={"random": False, "grid": False})
    world.ok("evolve", config, "--run", "mine")
    world.ok("export", "mine", "model", "--search", "main")
    world.ok("merge", "model/recipe.yaml", "again")
    weights = [(world.folder / each / "model.safetensors").read_bytes() for each in ("model", "again")]
    assert weights[0] == weights[1]


INIT = shlex.split(
    "init mine.yaml --base base --source a --task items.jsonl --grader grade.py:even --max-new-tokens 6"
)


def test_init_writes_a_file_that_evolve_takes(world: World) -> None:
    done = world.ok(*INIT, "--source", "second=b", "--candidates", "4")
    assert "fits together" in done.stdout
    assert list(yaml.safe_load((world.folder / "mine.yaml").read_text())["sources"]) == ["a", "second"]
    world.ok("evolve", "mine.yaml")
    assert world.show("runs/mine")["status"] == "finished"


def answer_questions(world: World, *lines: str, flags: tuple[str, ...] = ()) -> Result:
    return typed(world, "init", "asked.yaml", *flags, lines=lines)


def asked_task(world: World) -> TaskSpec:
    config = load_config(world.folder / "asked.yaml")
    assert list(config.sources) == ["a", "b"]
    return config.task


def quiz(world: World) -> None:
    rows = "".join(f"{n},What is {n} + 1?,{n + 1}\n" for n in range(20))
    (world.folder / "quiz.csv").write_text(f"id,question,solution\n{rows}")


MODELS = ("base", "a", "b", "")


def test_init_finds_the_columns_of_a_csv(world: World) -> None:
    quiz(world)
    flags = ("--language", "ja", "--candidates", "4", "--prompt", "Ask: {question}\\nA:")
    done = answer_questions(world, *MODELS, "quiz.csv", "number", flags=flags)
    assert done.exit_code == 0, done.output
    assert "answer 'solution'" in done.output
    task = asked_task(world)
    assert (task.prompt, task.answer) == ("Ask: {question}\nA:", "solution")
    assert task.grader == ["number", {"language": "ja"}] and task.max_new_tokens == 64
    assert load_config(world.folder / "asked.yaml").budget.candidates == 4


def test_init_asks_again_for_what_cannot_work(world: World) -> None:
    quiz(world)
    (world.folder / "short.jsonl").write_text('{"prompt": "1", "answer": "1"}\n' * 3)
    done = answer_questions(
        world,
        *("base", "a", "other/a", "b", ""),
        *("missing.csv", "short.jsonl", "quiz.csv"),
        *("junk", "regex", "none.py:even", "grade.py:even"),
    )
    assert done.exit_code == 0, done.output
    wrong = [line for line in done.stderr.splitlines() if "Error: " in line]
    says = ("'a' twice", "missing.csv", "at least 4 rows", "'junk'", "regex", "none.py")
    assert len(wrong) == len(says), done.stderr
    assert [words for line, words in zip(wrong, says, strict=True) if words not in line] == [], done.stderr
    assert asked_task(world).grader == "grade.py:even"


@pytest.mark.parametrize("redirect", ["< /dev/null", "<&-"])
def test_init_without_input_names_the_options_that_answer(world: World, redirect: str) -> None:
    line = f"{shlex.join(command('init', 'asked.yaml'))} {redirect}"
    done = subprocess.run(line, shell=True, cwd=world.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not (world.folder / "asked.yaml").exists()
    assert done.stderr.startswith("Error: standard input: expected an answer") and "\n  " not in done.stderr
    for option in ("--base", "--source", "--task", "--grader"):
        assert option in done.stderr


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["--help"], ("torch", "scipy", "cmaes")),
        (["merge", "--help"], ("kingyo.cli.evolve",)),
        (INIT, ("torch", "transformers", "scipy.stats")),
    ],
)
def test_commands_import_little(world: World, words: list[str], without: tuple[str, ...]) -> None:
    code = (
        f"import sys; from kingyo.cli import main\nsys.argv[1:] = {words!r}\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=world.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not set(without) & set(done.stderr.split()), done.stderr


def test_chat_without_a_template_names_the_flag(world: World) -> None:
    (world.folder / "a" / "chat_template.jinja").unlink()
    done = world.fails("chat", "a")
    assert "--prompt: expected a template" in done.stderr
    assert "--prompt '{prompt}'" in done.stderr and "task" not in done.stderr


def test_chat_answers_each_line(world: World) -> None:
    done = typed(world, "chat", "a", "--max-new-tokens", "4", lines=("1 + 2 =", "3 + 4 =", ""))
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_message(finished: World) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("show", finished.folder / "runs" / "small", "--json"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr

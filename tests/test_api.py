"""The Python API: its page runs, and errors and interrupts behave as documented."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

import kingyo
from kingyo.api.inputs import rows_of
from kingyo.merging.recipe import Recipe
from kingyo.runs.run import Run
from tests.cli.forked import run_forked
from tests.models_on_disk import fine_tuned, llama

ROOT = Path(__file__).parent.parent
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECIPE = {
    "merge_method": "linear",
    "dtype": "float32",
    "models": [{"model": name, "parameters": {"weight": 0.5}} for name in ("a", "b")],
}


def write_demo(folder: Path) -> Path:
    """Write a short form of the demo's run.yaml where its relative paths find the zoo."""
    (folder / "zoo").symlink_to(ROOT / "zoo")
    demo = yaml.safe_load((ROOT / "examples" / "demo" / "run.yaml").read_text(encoding="utf-8"))
    demo["budget"], demo["task"]["splits"] = {"candidates": 4}, {"fit": 20, "validation": 20, "test": 20}
    (folder / "examples" / "demo").mkdir(parents=True)
    file = folder / "examples" / "demo" / "run.yaml"
    file.write_text(yaml.safe_dump(demo), encoding="utf-8")
    return file


def write_run(folder: Path) -> Path:
    """Write a run.yaml of tiny models, which the fixture ``models`` makes."""
    rows = [{"prompt": f"{n} + 1 =", "answer": str(n + 1)} for n in range(30)]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = {"data": "items.jsonl", "grader": "number", "max_new_tokens": 2}
    run = {"base": "base", "sources": {"a": "a", "b": "b"}, "task": task, "budget": {"candidates": 3}}
    run["controls"] = {"trained": False}
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(run), encoding="utf-8")
    return file


@pytest.fixture
def models(tmp_path: Path) -> Path:
    base = llama(tmp_path / "base")
    fine_tuned(base, tmp_path / "a", seed=1)
    fine_tuned(base, tmp_path / "b", seed=2)
    return tmp_path


@pytest.mark.slow
def test_the_page_runs_in_order(tmp_path: Path) -> None:
    write_demo(tmp_path)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (tmp_path / "page.py").write_text("\n".join(PYTHON.findall(page)), encoding="utf-8")
    done = run_forked([], tmp_path, os.environ, tmp_path / "page.py")
    assert done.returncode == 0, done.stderr
    for folder in ("merged", "my-model", "my-tuned-model"):
        assert (tmp_path / folder / "model.safetensors").is_file()
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


def test_every_name_is_listed_with_a_description() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in kingyo.__all__:
        assert getattr(kingyo, name) is not None
        assert f"kingyo.{name}" in page, name
    assert set(kingyo.__all__) <= set(dir(kingyo))
    with pytest.raises(AttributeError, match="nothing"):
        _ = kingyo.nothing  # type: ignore[attr-defined]


def test_a_file_a_mapping_and_a_recipe_merge_to_the_same(models: Path) -> None:
    (models / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    kingyo.merge(str(models / "recipe.yaml"), models / "one")
    kingyo.merge(RECIPE, models / "two", folder=models)
    kingyo.merge(Recipe.from_dict(RECIPE, "it"), models / "three", folder=models)
    kingyo.merge(kingyo.load_recipe(models / "one" / "recipe.yaml"), models / "five")
    weights = {(models / name / "model.safetensors").read_bytes() for name in ("one", "two", "three", "five")}
    assert len(weights) == 1
    kingyo.merge(RECIPE, models / "four", folder=models, max_shard_size="1kB")
    assert (models / "four" / "model.safetensors.index.json").is_file()


def test_files_of_tasks_are_relative_to_the_folder_too(models: Path) -> None:
    (models / "task.yaml").write_text("{data: nowhere.jsonl, grader: exact}", encoding="utf-8")
    (models / "runs").mkdir()
    file = models / "runs" / "run.yaml"
    file.write_text("{sources: {a: a}, task: task.yaml, budget: {candidates: 3}}", encoding="utf-8")
    with pytest.raises(kingyo.KingyoError, match=r"nowhere\.jsonl"):
        kingyo.evolve(file, models / "run", folder=models)


def test_what_is_wrong_is_one_error_and_nothing_is_written(models: Path) -> None:
    with pytest.raises(kingyo.KingyoError, match="linear"):
        kingyo.merge({**RECIPE, "merge_method": "liner"}, models / "out", folder=models)
    with pytest.raises(kingyo.KingyoError, match="other"):
        kingyo.merge({**RECIPE, "base_model": "other"}, models / "out", folder=models)
    with pytest.raises(kingyo.KingyoError) as error:
        kingyo.merge(RECIPE, models / "out", folder=models, threads=10**9)
    assert error.value.argument == "threads"
    with pytest.raises(kingyo.KingyoError, match="budget"):
        kingyo.evolve({"name": "x", "budgets": {"candidates": 3}}, models / "run", folder=models)
    with pytest.raises(kingyo.KingyoError, match="max_shard_size"):
        kingyo.merge(RECIPE, models / "out", folder=models, max_shard_size="large")
    for function in (kingyo.resume, kingyo.tune, kingyo.summarize):
        with pytest.raises(kingyo.KingyoError):
            function(models / "run")
    assert not (models / "out").exists() and not (models / "run").exists()


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("recipe", lambda: kingyo.merge(cast(Any, None), "out")),
        ("out", lambda: kingyo.merge(RECIPE, cast(Any, 3))),
        ("reference", lambda: kingyo.open_checkpoint(cast(Any, None))),
        ("where", lambda: kingyo.scout_models(["a", cast(Any, None)])),
        ("task", lambda: kingyo.evaluate("model", cast(Any, 3))),
        ("config", lambda: kingyo.evolve(cast(Any, 3))),
        ("run", lambda: kingyo.summarize(cast(Any, 123))),
    ],
)
def test_an_argument_of_another_type_is_one_error(
    argument: str, call: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kingyo.KingyoError) as caught:
        call()
    assert caught.value.argument == argument and caught.value.expected.startswith("a path")


def test_a_run_can_be_read_from_another_thread_and_after_closing(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_run(models)
    monkeypatch.chdir(models)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(kingyo.evolve, file, "mine").result()
    (models / "elsewhere").mkdir()
    monkeypatch.chdir(models / "elsewhere")
    with run:
        assert kingyo.summarize(run).winner is not None
    assert kingyo.summarize(run).status == "finished"
    assert kingyo.write_report(run).parent == models / "mine"


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_winner(tmp_path: Path) -> None:
    file, stopped = write_demo(tmp_path), tmp_path / "stopped"
    uninterrupted = kingyo.evolve(file, tmp_path / "whole")
    code = (
        "import signal, sys, kingyo\n"
        "from kingyo.cli.live_display import LiveDisplay\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told to ignore it\n"
        "with LiveDisplay() as display:\n    kingyo.evolve(*sys.argv[1:], progress=display)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file), str(stopped)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Search on fit"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode != 0 and f"kingyo.resume({str(stopped)!r})" in rest.splitlines()[-1]
    assert "torch" not in rest
    resumed = kingyo.resume(stopped)
    first, second = (kingyo.summarize(run).winner for run in (uninterrupted, resumed))
    assert first is not None and second is not None
    assert (first.trial.asked, first.test) == (second.trial.asked, second.test)
    with pytest.raises(kingyo.KingyoError) as error:
        kingyo.export_model(resumed, tmp_path / "out", trial=0, pick="knee")
    assert error.value.argument == "trial" and not (tmp_path / "out").exists()


NOTEBOOK = """
import json, re, sys, kingyo

kingyo.KingyoError, kingyo.evolve, kingyo.resume, kingyo.tune, kingyo.control, kingyo.open_run
assert "torch" not in sys.modules

def grade(answer: str, item: "Item") -> float:
    return len(re.findall("[0-9]", answer)) / max(1, len(answer))

rows = [{"prompt": f"{n} + 1 =", "answer": str(n + 1)} for n in range(30)]
config = {"base": "base", "sources": {"a": "a", "b": "b"}, "budget": {"candidates": 3},
    "task": {"max_new_tokens": 2, "chat": False}, "controls": {"trained": False}}
seen = []
run = kingyo.evolve(config, "run", data=rows, grader=grade, on_trial=seen.append)
print(json.dumps([seen, run.rows(), repr(run)]))
assert "typer" not in sys.modules and "rich" not in sys.modules
"""


def test_at_home_items_and_grader_are_objects(models: Path) -> None:
    script = models / "notebook.py"
    script.write_text(NOTEBOOK, encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=models, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen, rows, shown = json.loads(done.stdout)
    assert {"main"} < {each["search"] for each in seen} and shown.startswith("<run ")
    fit = {(row["search"], row["trial"]): row["fit"] for row in rows}
    assert all(fit[each["search"], each["trial"]] == pytest.approx(each["fit"]) for each in seen)
    assert all(len(set(row) & {"fit", "validation", "test", "failure", "seconds"}) == 5 for row in rows)
    assert "import re" in (models / "run-inputs" / "grader.py").read_text(encoding="utf-8")
    run = kingyo.open_run(models / "run")
    assert run.status == "finished" and len(run.items["fit"]) > 0 and run.config.name == "run"
    assert "finished" in run._repr_html_()
    pandas = pytest.importorskip("pandas")
    assert isinstance(run.trials(), pandas.DataFrame) and len(run.trials()) == len(rows)
    assert kingyo.summarize(kingyo.control(run, "random")).controls.keys() == {"random"}
    for argument, wrong in {"more: minutes": {"minutes": 5}, "more: candidates": {"candidates": 0.5}}.items():
        with pytest.raises(kingyo.KingyoError) as error:
            kingyo.resume(run, more=wrong, rescore=True)
        assert error.value.argument == argument and len(run.rows()) > len(rows)
    resumed = kingyo.summarize(kingyo.resume(run, more={"candidates": 2}, rescore=True))
    assert resumed.trials == 5 and len(resumed.renewals) == len(resumed.extensions) == 1
    (models / "run-inputs" / "grader.py").write_text("def grade(answer, item):\n    return 1\n")
    with pytest.raises(kingyo.KingyoError, match="sha256"):
        kingyo.export_model(run, models / "out")


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("data", {"data": "items.jsonl"}),
        ("data", {"data": []}),
        ("data", {"data": [{"prompt": object(), "answer": "1"}]}),
        ("grader", {"grader": lambda answer, item: 1.0}),
        ("grader", {"grader": len}),
        ("grader", {"data": [{"prompt": "1", "answer": "1"}], "grader": 3}),
    ],
)
def test_items_and_graders_of_other_types_are_one_error(
    argument: str, wrong: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(kingyo.KingyoError) as caught:
        kingyo.evolve({"task": {}}, tmp_path / "run", **wrong)
    assert caught.value.argument == argument
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"data": [{"prompt": "1", "answer": "1"}]}, {"grader": "exact"}])
def test_a_wrong_config_leaves_no_inputs(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = {"name": "../x", "task": {"grader": "exact"}, "sources": {"a": "gone"}}
    with pytest.raises(kingyo.KingyoError):
        kingyo.evolve(config, **given)
    assert not [path for path in tmp_path.parent.rglob("items.jsonl") if path.is_relative_to(tmp_path)]


def is_long(answer: str, _: object) -> bool:
    return len(answer) > 1


def test_a_run_that_stops_as_it_begins_keeps_its_inputs(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(write_run(models).read_text(encoding="utf-8"))
    monkeypatch.setattr(is_long, "__module__", "__main__")

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "stored", stop)
        with pytest.raises(KeyboardInterrupt):
            kingyo.evolve(config, models / "run", folder=models, grader=is_long)
    assert kingyo.resume(models / "run").status == "finished"


def test_a_data_frame_is_read_without_its_missing_cells() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"prompt": ["a", "b"], "answer": [1, None]})
    assert rows_of(frame) == [{"prompt": "a", "answer": 1.0}, {"prompt": "b"}]


def test_a_name_that_is_too_long_for_hidden_names_beside_it_is_one_error(models: Path) -> None:
    for call in (
        lambda out: kingyo.merge(RECIPE, out, folder=models),
        lambda out: kingyo.evolve(write_demo(models), out),
    ):
        with pytest.raises(kingyo.KingyoError) as error:
            call(models / ("x" * 250))
        assert "230" in error.value.expected


def test_a_grader_that_changed_between_two_runs_of_one_process_is_loaded_again(models: Path) -> None:
    file = write_run(models)
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["task"]["grader"] = "own.py:grade"
    grader, scores = file.parent / "own.py", list[float]()
    for value in (0, 1):  # of one length, and within one second
        grader.write_text(f"def grade(answer, item):\n    return {value}\n", encoding="utf-8")
        run = kingyo.evolve(config, models / f"run{value}", folder=file.parent)
        scores.append(next(iter(kingyo.summarize(run).baselines.values())).fit.score)
    assert scores == [0, 1]

"""Every command in the documents is true: README's are run, in order; the others must parse."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from kingyo.cli.mergekit_flags import SAME, SWITCHES, VALUED
from kingyo.core.types import Item
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Sources, compute, open_sources, plan, rooted, to_folder
from kingyo.merging.recipe import Recipe, Source, load_recipes
from kingyo.models.kinds import MODEL_KINDS
from kingyo.runs.config import parse_config
from kingyo.runs.preflight import check
from kingyo.runs.run import Run
from kingyo.scout.candidate import REASONS
from kingyo.search.strategies import STRATEGIES
from kingyo.search.strategies.presets import PRESETS
from kingyo.store import RunStore
from kingyo.tasks import build_task, load_splits, parse_task_spec
from kingyo.tasks.graders import build_graders
from kingyo.tasks.graders.grader import GRADERS
from kingyo.testing.tasks import ScriptedModel
from kingyo.views.advice import uninformative_scores
from kingyo.views.results.summary import summarize
from tests.cli.forked import run_forked
from tests.models_on_disk import llama
from tests.tasks.pictures import picture

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "zoo/README.md", "examples/*/README.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
YAML_FILE = re.compile(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON_FILE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")
REFERENCE = ROOT / "docs" / "run-yaml.md"


def commands(document: Path) -> list[list[str]]:
    text = "".join(BLOCK.findall(document.read_text(encoding="utf-8"))).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def small_zoo(folder: Path, n_rows: int) -> None:
    """Make a zoo with the same models and the first rows of its tasks."""
    (folder / "zoo" / "tasks").mkdir(parents=True)
    for model in (path.parent for path in (ROOT / "zoo").glob("*/config.json")):
        (folder / "zoo" / model.name).symlink_to(model)
    for task in (ROOT / "zoo" / "tasks").glob("*.jsonl"):
        rows = task.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "zoo" / "tasks" / task.name).write_text("".join(rows[:n_rows]), encoding="utf-8")


def test_commands_of_the_readme_run_in_order(tmp_path: Path) -> None:
    small_zoo(tmp_path, 60)
    ran = [words for words in commands(ROOT / "README.md") if words[:1] == ["kingyo"]]
    assert len(ran) >= 5
    budget = ran[0].index("--candidates") + 1
    ran[0][budget] = "6"  # a smaller run than the README's, to save time
    for words in ran:
        done = run_forked(words[1:], tmp_path, ENV)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    assert (tmp_path / "my-model" / "model.safetensors").exists()
    assert (tmp_path / "runs" / "my" / "report.html").exists()


def run_in_order(page: Path, folder: Path) -> None:
    """Write the files that a page shows, then run its commands next to the zoo."""
    if not (folder / "zoo").exists():
        (folder / "zoo").symlink_to(ROOT / "zoo")
    for name, text in YAML_FILE.findall(page.read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
    for words in commands(page):
        done = run_forked(words[1:], folder, ENV)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"


@pytest.mark.slow
def test_commands_of_the_page_of_searching_run_in_order(tmp_path: Path) -> None:
    run_in_order(ROOT / "docs" / "search.md", tmp_path)
    assert (tmp_path / "compromise" / "model.safetensors").exists()
    finished = {path.parent.relative_to(tmp_path / "runs") for path in tmp_path.glob("runs/**/run.db")}
    one_seed = {"both", "genome", "paths", "hybrid"}
    assert {str(each) for each in finished} == {*one_seed, "seeds/seed-0", "seeds/seed-1"}


@pytest.mark.slow
def test_commands_of_the_page_of_learning_run_in_order(tmp_path: Path) -> None:
    """Its tuning begins with the run of the README, whose budget is smaller here."""
    pytest.importorskip("peft")
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    for words in [each for each in commands(ROOT / "README.md") if each[0] == "kingyo"][:2]:
        given = ["6" if words[i - 1] == "--candidates" else word for i, word in enumerate(words)]
        assert run_forked(given[1:], tmp_path, ENV).returncode == 0, shlex.join(given)
    run_in_order(ROOT / "docs" / "learning.md", tmp_path)
    with RunStore.read(tmp_path / "runs" / "learned") as store:
        summary = summarize(store)
    assert summary.learning is not None and summary.learning.trials == (6,)
    assert summary.winner is not None and summary.winner.test is not None
    assert summary.winner.test.score > 0.8
    assert "adapter" in {path.name for path in (tmp_path / "tuned-model").iterdir()}
    with RunStore.read(tmp_path / "runs" / "kept") as store:
        tuning = summarize(store).tuning
    assert tuning is not None and tuning.others is not None and tuning.others.n > 100


@pytest.mark.slow
def test_commands_of_the_page_of_zeros_run_in_order(tmp_path: Path) -> None:
    run_in_order(ROOT / "docs" / "zero.md", tmp_path)
    scores = [json.loads(line)["score"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(scores) == 8 and any(scores)
    with RunStore.read(tmp_path / "runs" / "zero") as store:
        (warning,) = uninformative_scores(store)
    assert warning.kind == "zero" and "docs/zero.md" in warning.remedy


def test_the_readme_installs_in_one_way() -> None:
    other = [words for words in commands(ROOT / "README.md") if words[0] != "kingyo"]
    assert other == [["make", "demo"]]


def test_commands_in_merge_md_run_in_order(tmp_path: Path) -> None:
    run_in_order(ROOT / "docs" / "merge.md", tmp_path)
    folders = {path.parent.name for path in tmp_path.glob("*/config.json")}
    assert folders == {"merged", "both"}


@pytest.mark.slow
def test_the_command_that_scores_a_pipeline_runs(tmp_path: Path) -> None:
    """On every 16th item, to save time."""
    pytest.importorskip("diffusers")
    zoo = tmp_path / "zoo" / "pictures"
    (zoo / "tasks").mkdir(parents=True)
    for model in ("base", "ja", "fast", "shuffle", "invert", "judge"):
        (zoo / model).symlink_to(ROOT / "zoo" / "pictures" / model)
    (tmp_path / "examples" / "pictures").mkdir(parents=True)
    run = Path("examples", "pictures", "run.yaml")
    shutil.copy(ROOT / run, tmp_path / run)
    data = zoo / "tasks" / "pictures-ja.jsonl"
    rows = (ROOT / data.relative_to(tmp_path)).read_text(encoding="utf-8").splitlines(keepends=True)
    data.write_text("".join(rows[::16]), encoding="utf-8")
    (words,) = (words for words in commands(ROOT / "docs" / "pictures.md") if words[1] == "evaluate")
    done = run_forked(words[1:], tmp_path, ENV)
    assert done.returncode == 0 and "n = 8" in done.stdout, done.stderr


@pytest.mark.slow
def test_commands_in_scout_md_run_in_order(tmp_path: Path) -> None:
    run_in_order(ROOT / "docs" / "scout.md", tmp_path)


def test_scout_md_lists_every_reason_in_order() -> None:
    page = (ROOT / "docs" / "scout.md").read_text(encoding="utf-8")
    table = page.partition("| reason | what it means |\n|---|---|\n")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)) == REASONS


def test_the_method_on_the_page_of_recipes_merges(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name, text in PYTHON_FILE.findall(page):
        (tmp_path / name).write_text(text, encoding="utf-8")
    sources = tuple(Source(model=str(llama(tmp_path / str(i), seed=i))) for i in range(2))
    recipe = Recipe(merge_method="own.py:HALF", sources=sources, parameters={"scale": 2.0})
    opened = [open_checkpoint(source.model) for source in sources]
    models = Sources({each.reference: each for each in opened}, tmp_path)
    for job in plan(recipe, models).jobs:
        want = opened[0].read(job.name) + opened[1].read(job.name)
        torch.testing.assert_close(compute(job, models.read), want)


def check_contract_of_page(page: Path, folder: Path, test: str) -> None:
    for name, text in PYTHON_FILE.findall(page.read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
    command_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    proved = subprocess.run(command_, cwd=folder, env=ENV, capture_output=True, text=True, check=False)
    assert proved.returncode == 0, proved.stdout


def test_the_kind_of_model_on_its_page_keeps_its_contract(tmp_path: Path) -> None:
    check_contract_of_page(ROOT / "docs" / "kinds.md", tmp_path, "test_perceptron.py")


def test_the_page_on_kinds_lists_every_kind() -> None:
    page = (ROOT / "docs" / "kinds.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in MODEL_KINDS.names())


def test_the_strategy_in_contributing_keeps_its_contract_and_runs(tmp_path: Path) -> None:
    check_contract_of_page(ROOT / "CONTRIBUTING.md", tmp_path, "test_climber.py")
    run = {
        "base": str(ROOT / "zoo" / "base"),
        "sources": {name: str(ROOT / "zoo" / name) for name in ("ja", "math-en")},
        "task": {
            "data": str(ROOT / "zoo" / "tasks" / "ja-math.jsonl"),
            "grader": "number",
            "max_new_tokens": 8,
            "splits": {"fit": 8, "validation": 8, "test": 8},
        },
        "merge": {"dtype": "float32"},
        "search": {"strategy": "climber.py:Climber", "settings": {"step": 0.3}},
        "budget": {"candidates": 4},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run), encoding="utf-8")
    done = run_forked(["evolve", "run.yaml"], tmp_path, ENV)
    assert done.returncode == 0, done.stderr


def test_the_paths_on_the_page_of_recipes_merge(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    examples = [text for text in YAML.findall(page) if "\npath:" in text]
    assert {"merges:" in text for text in examples} == {True, False}
    for i, name in enumerate(("ja", "en")):
        llama(tmp_path / name, seed=i, layers=4)
    for i, text in enumerate(examples):
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        (spec,) = load_recipes(tmp_path / "recipe.yaml").outputs
        recipe = rooted(spec.recipe, tmp_path)
        out = to_folder(plan(recipe, open_sources(recipe)), tmp_path / str(i))
        assert open_checkpoint(str(out)).layout.n_blocks == len(recipe.path)


def test_the_examples_of_paths_fit_to_models(tmp_path: Path) -> None:
    """With the zoo's models and items in place of their own; the page names a path of another run."""
    documents = [yaml.safe_load(text) for text in YAML.findall(REFERENCE.read_text(encoding="utf-8"))]
    examples = [each for each in documents if "space" in each]
    assert [each["space"] for each in examples] == ["dataflow", "hybrid"]
    zoo = {
        "sources": {"ja": str(ROOT / "zoo" / "ja"), "math": str(ROOT / "zoo" / "math-en")},
        "base": str(ROOT / "zoo" / "base"),
        "task": {"data": str(ROOT / "zoo" / "tasks" / "ja-math.jsonl"), "grader": "number"},
    }
    (tmp_path / "good").mkdir()
    good = {"merge_method": "passthrough", "path": [{"model": zoo["sources"]["math"], "layer_range": [0, 4]}]}
    (tmp_path / "good" / "recipe.yaml").write_text(yaml.safe_dump(good))
    for each in examples:
        run = Run.open(parse_config({"budget": {"candidates": 9}, **each, **zoo}, "it"), tmp_path)
        check(run)
        assert "main" in {search.name for search in run.all_searches}


def test_merge_md_lists_every_option() -> None:
    page, of_mergekit = (ROOT / "docs" / "merge.md").read_text(encoding="utf-8").split("## mergekit's flags")
    told_of = set(re.findall(r"(?<=`)-[-\w]+", of_mergekit))
    assert {*SAME, *SWITCHES, *VALUED} <= told_of
    help_text = run_forked(["merge", "--help"], ROOT, {**ENV, "COLUMNS": "120"})
    options = set(re.findall(r"(?<![\w-])--[a-z-]+", help_text.stdout)) - {"--help"}
    assert len(options) >= 10
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)) == options


def test_the_kind_of_task_in_the_reference_reads_its_items_and_scores_them(tmp_path: Path) -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    for name, text in PYTHON_FILE.findall(page):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (task,) = [each["task"] for each in map(yaml.safe_load, YAML.findall(page)) if "size.py" in str(each)]
    contents = [picture(i, size=(8 + i, 8)) for i in range(8)]
    for i, content in enumerate(contents):
        (tmp_path / f"{i}.png").write_bytes(content)
    rows = [{"image": f"{i}.png", "answer": str(len(content))} for i, content in enumerate(contents)]
    (tmp_path / "photos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = parse_task_spec(task)
    built_task = build_task(spec, load_splits({"task": spec}, tmp_path).splits, tmp_path)
    model = ScriptedModel(lambda prompt: prompt.split()[-1])
    assert [each.score for each in built_task.score(model, built_task.items("fit"))] == [1.0] * 4


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_other_commands_parse(document: Path) -> None:
    for words in commands(document):
        program, *arguments = words
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        elif program == "kingyo":
            flags_are_known(help_of(arguments[0]), arguments)
        elif program == "python":
            assert (ROOT / arguments[0]).is_file(), words
            flags_are_known(help_of(script=arguments[0]), arguments)
        else:
            assert words[:2] in (["pip", "install"], ["hf", "download"]), (
                f"a command that nobody checks: {words}"
            )
            for extra in re.findall(r"(?:kingyo|\.)\[([a-z,]+)\]", shlex.join(arguments)):
                assert all(
                    f"\n{name} = [" in (ROOT / "pyproject.toml").read_text() for name in extra.split(",")
                )


def flags_are_known(text: str, arguments: list[str]) -> None:
    for flag in (word.split("=")[0] for word in arguments if word.startswith("--")):
        assert flag in text, f"{flag} is not in the help of {arguments}"


@cache
def help_of(*words: str, script: str | None = None) -> str:
    done = run_forked([*words, "--help"], ROOT, ENV, None if script is None else ROOT / script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_have_targets(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_tables_say_what_the_classes_of_settings_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert runpy.run_path(str(ROOT / "docs" / "tables.py"))["with_tables"](text) == text, (
        "run: python docs/tables.py"
    )


def test_every_accepted_name_is_on_its_page() -> None:
    pages = {"graders": GRADERS.names(), "search": STRATEGIES.names(), "run-yaml": PRESETS}
    for page, names in pages.items():
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert [name for name in names if f"`{name}`" not in text] == []


def test_the_examples_of_the_reference_work(tmp_path: Path) -> None:
    examples = re.findall(
        r"^```(yaml|python)\n(.*?)^```", REFERENCE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    blocks = dict(reversed(examples))  # the first of each
    config = parse_config(yaml.safe_load(blocks["yaml"]), "the example")
    assert config.task.grader == ["mine.py:grade", {"language": "de"}]
    (tmp_path / "mine.py").write_text(blocks["python"], encoding="utf-8")
    graders = build_graders([("mine.py:grade", None)], tmp_path)
    item = Item(id="1", prompt="How heavy?", answer="5", fields={"unit": "kg"})
    assert [graders.score(text, item) for text in ("5 kg", "5", "6 kg")] == [1.0, 0.5, False]

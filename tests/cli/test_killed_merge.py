"""Merges that are interrupted or killed, in real processes: nothing looks finished; a rerun is complete."""

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import command
from tests.cli.merging import contents, write_recipe
from tests.models_on_disk import fine_tuned, llama

SHARD = "100kB"


@dataclass(frozen=True, kw_only=True)
class Merging:
    """Models large enough that their merge can be stopped midway, and the merge as it should be."""

    folder: Path

    @property
    def expected(self) -> Path:
        return self.folder / "expected"

    def arguments(self, out: str, *more: str) -> list[str]:
        return command("merge", "recipe.yaml", out, "--max-shard-size", SHARD, *more)

    def run(self, out: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.arguments(out, *more),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def stopped(self, out: str, *, after: int, sent: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
        """Signal the merge after the given number of weight files; return its exit code and errors."""
        with subprocess.Popen(
            self.arguments(out),
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while len(list(self.hidden(out).glob("*.safetensors"))) <= after:
                assert process.poll() is None, "it ended before it could be stopped"
                time.sleep(0.001)
            process.send_signal(sent)
            _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def hidden(self, out: str) -> Path:
        return self.folder / f".{out}.partial" / "content"


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "110"}


@pytest.fixture(scope="module")
def merge_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merging")
    base = llama(folder / "base", hidden=128, layers=20)
    fine_tuned(base, folder / "a", seed=1)
    fine_tuned(base, folder / "b", seed=2)
    write_recipe(folder / "recipe.yaml", merge_method="dare_ties", parameters={"density": 0.5}, seed=3)
    done = Merging(folder=folder).run("expected")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "expected").glob("*.safetensors"))) > 60
    return folder


@pytest.fixture
def merging(merge_sources: Path, tmp_path: Path) -> Merging:
    """The models in a folder of the test's own."""
    for each in merge_sources.iterdir():
        (tmp_path / each.name).symlink_to(each)
    (tmp_path / "recipe.yaml").unlink()
    shutil.copyfile(merge_sources / "recipe.yaml", tmp_path / "recipe.yaml")
    return Merging(folder=tmp_path)


def as_expected(merging: Merging, out: str) -> bool:
    mine, expected = contents(merging.folder / out), contents(merging.expected)
    card = mine["README.md"].decode().replace(f"# {out}\n", "# expected\n").encode()
    return {**mine, "README.md": card} == expected


def test_killed_at_any_moment_a_rerun_is_complete(merging: Merging) -> None:
    total = len(list(merging.expected.glob("*.safetensors")))
    for stop in random.Random(20261126).sample(range(total - 1), 3):
        code, _ = merging.stopped("out", after=stop)
        assert code == -signal.SIGKILL
        assert not (merging.folder / "out").exists()
    done = merging.run("out")
    assert done.returncode == 0, done.stderr
    assert as_expected(merging, "out")
    assert not merging.hidden("out").parent.exists()


@pytest.mark.parametrize(("sent", "after"), [(signal.SIGTERM, 10), (signal.SIGINT, 0)])
def test_an_interrupted_merge_leaves_nothing(merging: Merging, sent: signal.Signals, after: int) -> None:
    before = {file.name for file in merging.folder.iterdir()}
    code, errors = merging.stopped("out", after=after, sent=sent)
    assert code == 130, errors
    assert "nothing is left behind" in errors and "Traceback" not in errors
    assert {file.name for file in merging.folder.iterdir()} == before


def test_two_processes_that_write_one_folder(merging: Merging) -> None:
    with subprocess.Popen(
        merging.arguments("out"), cwd=merging.folder, env=environment(), stderr=subprocess.PIPE
    ) as first:
        while not list(merging.hidden("out").glob("*.safetensors")):
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)  # it would be done before another could start
        second = merging.run("out")
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate(timeout=120)
    assert second.returncode == 1 and "Traceback" not in second.stderr
    assert "another kingyo" in second.stderr
    assert first.returncode == 0, errors
    assert as_expected(merging, "out")

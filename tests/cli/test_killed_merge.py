"""Merges that are interrupted or killed, in real processes: nothing looks finished; a rerun is complete."""

import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import command, stopped
from tests.cli.merging import contents, write_recipe
from tests.cli.typed import called
from tests.models_on_disk import fine_tuned, llama

WORDS = ("merge", "recipe.yaml", "--max-shard-size", "100kB")


@dataclass(frozen=True, kw_only=True)
class Merging:
    """Models large enough that their merge can be stopped midway, and the merge as it should be."""

    folder: Path

    @property
    def expected(self) -> Path:
        return self.folder / "expected"

    def run(self, out: str) -> subprocess.CompletedProcess[str]:
        return called(self.folder, *WORDS, out)

    def stopped(self, *, after: int, sent: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
        """Signal the merge after the given number of weight files; return its exit code and errors."""
        return stopped(self.folder, *WORDS, "out", when=lambda: self.n_written() > after, sent=sent)

    def n_written(self) -> int:
        with suppress(FileNotFoundError):  # a rerun deletes what a killed merge left
            return len(list((self.hidden / "content").glob("*.safetensors")))
        return 0

    @property
    def hidden(self) -> Path:
        return self.folder / ".out.partial"


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


def is_as_expected(merging: Merging) -> bool:
    mine, expected = contents(merging.folder / "out"), contents(merging.expected)
    card = mine["README.md"].decode().replace("# out\n", "# expected\n").encode()
    return {**mine, "README.md": card} == expected


def test_killed_at_any_moment_a_rerun_is_complete(merging: Merging) -> None:
    total = len(list(merging.expected.glob("*.safetensors")))
    for stop in (2, total // 3, 2 * total // 3):  # what one kill left is far below the next
        code, _ = merging.stopped(after=stop)
        assert code == -signal.SIGKILL
        assert not (merging.folder / "out").exists()
    done = merging.run("out")
    assert done.returncode == 0, done.stderr
    assert is_as_expected(merging)
    assert not merging.hidden.exists()


@pytest.mark.parametrize(("sent", "after"), [(signal.SIGTERM, 10), (signal.SIGINT, 0)])
def test_an_interrupted_merge_leaves_nothing(merging: Merging, sent: signal.Signals, after: int) -> None:
    before = {file.name for file in merging.folder.iterdir()}
    code, errors = merging.stopped(after=after, sent=sent)
    assert code == 130, errors
    assert "nothing is left behind" in errors and "Traceback" not in errors
    assert {file.name for file in merging.folder.iterdir()} == before


def test_two_processes_that_write_one_folder(merging: Merging) -> None:
    with subprocess.Popen(command(*WORDS, "out"), cwd=merging.folder, stderr=subprocess.PIPE) as first:
        while not merging.n_written():
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)  # it would be done before another could start
        second = merging.run("out")
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate(timeout=120)
    assert second.returncode == 1 and "Traceback" not in second.stderr
    assert "another kingyo" in second.stderr
    assert first.returncode == 0, errors
    assert is_as_expected(merging)

"""User graders that hang or crash: each gives one error and leaves no process."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from kingyo.core.types import Item
from kingyo.core.user_code.versions import hash_of
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.tasks.graders import Graders, build_graders
from kingyo.tasks.graders.process import GRADER_PROCESS
from tests.search.runners.fakes import alive, wait_until

ITEM = Item(id="i7", prompt="?", answer="3")
BAD = """
import asyncio, ctypes, os, re, signal, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent

def _loop():
    while True:
        pass

def ignores_signals(answer, item):
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    _loop()

def swallows(answer, item):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def backtracks(answer, item):
    return bool(re.match("(a+)+$", "a" * 60 + "b"))

def begins_others(answer, item):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (HERE / f"{child.pid}.pid").touch()
    (HERE / f"{os.getpid()}.pid").touch()
    (HERE / "hangs").touch()
    re.match("(a+)+$", "a" * 60 + "b")  # Python's lock is held

def leaves(answer, item):
    os._exit(3)

def segfaults(answer, item):
    ctypes.string_at(0)

def interrupts(answer, item):
    raise KeyboardInterrupt

def cancels(answer, item):
    raise asyncio.CancelledError

def prints(answer, item):
    print("not for standard output")
    os.write(1, b"not this either")
    subprocess.run(["echo", "nor this"])
    return True

class Picky:
    def __call__(self, answer, item):
        return 1.0
    def check(self, item):
        _loop()
picky = Picky()

def _only_on(bad):
    return lambda answer, item: bad(answer, item) if answer == "bad" else 1.0

for _name, _each in list(vars().items()):
    if not _name.startswith("_") and callable(_each) and _each.__module__ == __name__ and _name != "Picky":
        globals()["on_bad_" + _name] = _only_on(_each)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(BAD)
    return tmp_path


def verdict(folder: Path, name: str, timeout: float | None = 0.3) -> Graders:
    return build_graders([(f"mine.py:{name}", None)], folder, timeout=timeout)


@pytest.mark.parametrize("name", ["ignores_signals", "swallows", "backtracks", "begins_others"])
def test_a_grader_that_no_alarm_ends_is_killed_and_the_next_item_is_graded(folder: Path, name: str) -> None:
    grade = verdict(folder, f"on_bad_{name}", timeout=1.0 if name == "begins_others" else 0.3)
    assert grade.grade(["3"] * 3, [ITEM] * 3) == [1, 1, 1]
    items = [Item(id="i1", prompt="?", answer=""), ITEM, ITEM]
    with pytest.raises(KingyoError, match=rf"{name} on item i7: expected a score within .* s; received none"):
        grade.grade(["3", "bad", "bad"], items)
    wait_until(lambda: alive(folder) == [])
    assert grade.score("3", ITEM) == 1


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("leaves", "its process ended with code 3"),
        ("segfaults", "its process ended by signal 11"),
        ("interrupts", "KeyboardInterrupt: .*mine.py line"),
        ("cancels", "CancelledError: .*mine.py line"),
    ],
)
def test_a_grader_that_ends_its_process_is_one_error(
    folder: Path, name: str, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    grade = verdict(folder, f"on_bad_{name}", timeout=60)
    with pytest.raises(KingyoError, match=rf"{name} on item i7: expected a score; received .*{how}"):
        grade.grade(["3", "bad"], [ITEM, ITEM])
    assert "Traceback" not in capfd.readouterr().err
    wait_until(lambda: alive(folder) == [])
    assert grade.score("3", ITEM) == 1


@pytest.mark.parametrize("is_main", [True, False])
def test_a_backtracking_pattern_times_out_on_any_thread(is_main: bool) -> None:
    grade = build_graders([("regex", "(a+)+$")], Path(), timeout=0.3)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(KingyoError, match=r"regex on item i7: .*within 0\.3"),
    ):
        answer = "a" * 60 + "b"
        grade.score(answer, ITEM) if is_main else pool.submit(grade.score, answer, ITEM).result()


def test_a_look_at_items_that_hangs_is_ended(folder: Path) -> None:
    with pytest.raises(KingyoError, match=r"mine.py:picky on item i7: .*within 0\.3 s"):
        verdict(folder, "picky").check([ITEM])


def test_later_graders_are_skipped_after_a_zero(folder: Path) -> None:
    grade = build_graders([("exact", None), ("mine.py:on_bad_leaves", None)], folder, timeout=60)
    assert grade.grade(["bad", "3"], [ITEM, ITEM]) == [0, 1]


def test_a_grader_has_as_many_threads_of_torch_as_its_parent(folder: Path) -> None:
    (folder / "mine.py").write_text("import torch\ndef n(answer, item): return torch.get_num_threads() == 1")
    before = torch.get_num_threads()
    for n in (1, 2):
        torch.set_num_threads(n)
        GRADER_PROCESS.kill()
        try:
            assert verdict(folder, "n", timeout=60).score("3", ITEM) == (n == 1)
        finally:
            torch.set_num_threads(before)
            GRADER_PROCESS.kill()


READS = """
import importlib, json, os, tempfile
from pathlib import Path

import used
HERE = Path(__file__).parent

def reads(answer, item):
    importlib.import_module(f"by_{item.prompt}")
    json.loads((HERE / "words.json").read_text())
    (HERE / "log.txt").open("a").write("called")
    (HERE / "log.txt").read_text()
    (HERE / "gone.txt").exists()
    with tempfile.TemporaryFile(dir=HERE) as file:
        file.read()
    return open(os.devnull).read() == ""
"""


def test_what_a_grader_loads_and_opens_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    files = {"reads.py": READS, "used.py": "", "by_name.py": "", "unused.py": "", "words.json": "[]"}
    for name, text in files.items():
        (folder / name).write_text(text)
    for _ in range(2):  # the second process finds compiled modules
        GRADER_PROCESS.kill()
        GRADER_PROCESS.opened.clear()
        grade = build_graders([("reads.py:reads", None)], folder, timeout=60)
        assert grade.score("3", Item(id="i", prompt="name", answer="3")) == 1
        expected = {
            name: hash_of(files[name]) for name in ("reads.py", "used.py", "by_name.py", "words.json")
        }
        assert GRADER_PROCESS.opened == expected | {"log.txt": ""}


CACHES = """
import os, shutil
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE / "cache.json"

def caches(answer, item):
    CACHE.read_text()
    if answer in ("replace", "move"):
        (HERE / "new.json").write_text("[2]")
        os.replace(HERE / "new.json", CACHE) if answer == "replace" else shutil.move(HERE / "new.json", CACHE)
    elif answer == "remove":
        os.remove(CACHE)
    else:  # other files, of the same names
        folder = os.open(HERE / "other", os.O_RDONLY)
        os.rename("a", "cache.json", src_dir_fd=folder, dst_dir_fd=folder)
        os.remove("cache.json", dir_fd=folder)
        os.close(folder)
    return True
"""


@pytest.mark.parametrize("how", ["replace", "move", "remove"])
def test_a_file_that_a_grader_replaces_may_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (folder / "caches.py").write_text(CACHES)
    (folder / "cache.json").write_text("[1]")
    (folder / "other").mkdir()
    (folder / "other" / "a").touch()
    monkeypatch.chdir(folder)
    GRADER_PROCESS.kill()
    GRADER_PROCESS.opened.clear()
    grade = build_graders([("caches.py:caches", None)], folder, timeout=60)
    assert grade.score("other", ITEM) == 1
    assert GRADER_PROCESS.opened["cache.json"] == hash_of("[1]")
    assert grade.score(how, ITEM) == 1
    assert GRADER_PROCESS.opened["cache.json"] == ""


def test_a_changed_grader_file_is_not_mixed_with_the_old_one(folder: Path) -> None:
    grade = verdict(folder, "prints", timeout=60)
    (folder / "mine.py").write_text("def prints(answer, item): return 0.0")
    with pytest.raises(ChangedSourceError, match="grader "):
        grade.score("3", ITEM)


@pytest.mark.parametrize("changed", ["helper.py", "behind_helper.txt", "behind_grader.txt", "option.txt"])
def test_a_killed_grader_is_not_built_again_of_helpers_or_data_that_were_written_since(
    folder: Path, changed: str
) -> None:
    for name in ("behind_helper.txt", "behind_grader.txt", "option.txt"):
        (folder / name).write_text("1")
    (folder / "helper.py").write_text("FILES = ('behind_helper.txt',)\nworth = 1.0\n")
    (folder / "helped.py").write_text(
        "import sys, time\nfrom dataclasses import dataclass\nfrom pathlib import Path\n"
        "sys.path.insert(0, str(Path(__file__).parent))\nimport helper\nFILES = ('behind_grader.txt',)\n"
        "@dataclass(frozen=True)\nclass Grade:\n    path: str\n    def __call__(self, answer, item):\n"
        "        time.sleep(60 if answer == 'bad' else 0)\n        return helper.worth\n"
    )
    grade = build_graders([("helped.py:Grade", "option.txt")], folder, timeout=0.3)
    assert grade.score("3", ITEM) == 1
    (folder / changed).write_text("worth = 0.25\n")
    assert grade.score("3", ITEM) == 1  # the same process goes on
    with pytest.raises(KingyoError, match=r"within 0\.3 s"):
        grade.score("bad", ITEM)
    with pytest.raises(ChangedSourceError, match="grader "):
        grade.score("3", ITEM)


PARENT = """
import sys
from pathlib import Path
from kingyo.tasks.graders import build_graders
from kingyo.core.types import Item

build_graders([("mine.py:begins_others", None)], Path(sys.argv[1]), timeout=600).score(
    "3", Item(id="i", prompt="?", answer="3")
)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_grader_that_hangs_dies_with_its_parent(folder: Path, sent: signal.Signals) -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import signal; signal.signal(2, signal.default_int_handler){PARENT}",
            str(folder),
        ],
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until((folder / "hangs").exists)
        assert len(alive(folder)) == 2
        process.send_signal(sent)
    wait_until(lambda: alive(folder) == [])

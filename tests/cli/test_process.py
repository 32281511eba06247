"""The process ``kingyo``: it leaves at once, and nothing is lost by that."""

import json
import os
import subprocess
import sys

import pytest

RUN = """
import atexit, os, threading
from kingyo.__main__ import process

class Witness:
    def __del__(self, write=os.write):
        write(2, b"torn down")

witness = Witness()
atexit.register(lambda: print("handler"))
print("kept back")  # to a pipe or a file: only a flush brings it there
{more}
process()
"""


def run(*arguments: str, more: str = "") -> subprocess.CompletedProcess[str]:
    code = [sys.executable, "-c", RUN.format(more=more), *arguments]
    return subprocess.run(code, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("list", "strategies"), 0), (("list", "nonsense"), 2), (("merge", "none.yaml", "out"), 1)],
)
def test_an_exit_flushes_all_output(arguments: tuple[str, ...], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert done.stdout.startswith("kept back\n") and done.stdout.endswith("handler\n")
    assert ("cma-es" in done.stdout) == (code == 0)
    assert "torn down" not in done.stderr


def test_threads_are_waited_for() -> None:
    late = "threading.Thread(target=lambda: (threading.main_thread().join(), print('late'))).start()"
    done = run("list", "strategies", more=late)
    assert done.returncode == 0
    assert done.stdout.endswith("late\nhandler\n") and "torn down" in done.stderr


def test_commands_that_run_graders_end_in_good_order() -> None:
    assert "torn down" in run("show", "nothing").stderr


def test_a_closed_pipe_gives_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = [sys.executable, "-c", "from kingyo.__main__ import process; process()", "list", "strategies"]
    done = subprocess.run(code, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_an_interrupt_of_the_first_moment_is_no_traceback(sent: str) -> None:
    """While the command line itself is being loaded."""
    code = f"""
import signal, sys, kingyo.__main__ as entry
signal.signal(signal.SIGINT, signal.default_int_handler)
class Impatient:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            signal.raise_signal(signal.{sent})
sys.meta_path.insert(0, Impatient())
entry.process()
"""
    command = [sys.executable, "-c", code]
    for more in ([], ["show", "--", "--json"]):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
    done = subprocess.run([*command, "show", "run", "--json"], capture_output=True, text=True, check=False)
    unknown = dict.fromkeys(("argument", "expected", "received", "remedy"))
    assert (done.returncode, done.stderr) == (130, "")
    assert json.loads(done.stdout) == {"error": {"message": "Interrupted.", **unknown}}

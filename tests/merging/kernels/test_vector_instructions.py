"""Compiled loops are stored once, and are vector instructions on the processors of both makers."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are those of x86-64")

PRINT_ASSEMBLY = """
import sys
from kingyo.merging.kernels.machine_code import weighted_sums
from kingyo.merging.kernels.loop_functions import _module, machine
from kingyo.merging.kernels.loops import LoopForm, LoopTerm, text

FORMS = {
    "linear": LoopForm(terms=(LoopTerm("b"),) * 3, out="b"),
    "task_arithmetic": LoopForm(terms=(LoopTerm("b"),) * 3, base="b", out="b"),
    "ties": LoopForm(
        terms=(LoopTerm("b", "largest"),) * 3, base="b", out="b", elect="weighted", normalize=True
    ),
}
_, module = _module(weighted_sums.name, weighted_sums.kinds, text(FORMS[sys.argv[1]]))
print(machine().emit_assembly(module))
"""
JUMP = re.compile(r"\s+j\w+\s+(\.LBB\d+_\d+)")
LABEL = re.compile(r"(\.LBB\d+_\d+):")


def assembly(form: str, processor: str, **settings: str) -> str:
    """Return the assembly of a loop for a processor, from a process with numba's settings."""
    env = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""} | settings
    command = [sys.executable, "-c", PRINT_ASSEMBLY, form]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def innermost_loops(code: str) -> Iterator[str]:
    """Yield the instructions of each loop that is one block: from a label to a jump back to it."""
    lines = code.splitlines()
    label, start = "", 0
    for i, line in enumerate(lines):
        if found := LABEL.match(line):
            label, start = found[1], i
        elif (found := JUMP.match(line)) and found[1] == label:
            yield "\n".join(lines[start : i + 1])


def is_vectorised(code: str) -> bool:
    """Return whether a loop reads, multiplies and writes eight or more numbers at a time, and none singly."""
    return any(
        re.search(r"vpslld\s.*%[yz]mm", loop)
        and re.search(r"vmulps\s.*%[yz]mm", loop)
        and re.search(r"vmov\w+\s+%[yz]mm\d+, .*\(", loop)
        and not re.search(r"v(mul|add|sub|div)ss\s", loop)
        for loop in innermost_loops(code)
    )


@on_x86
@pytest.mark.parametrize(
    ("form", "processor"),
    [
        ("linear", "skylake-avx512"),
        *(
            pytest.param(form, processor, marks=pytest.mark.slow)
            for form in ("linear", "task_arithmetic", "ties")
            for processor in (
                "haswell",
                "skylake-avx512",
                "icelake-server",
                "sapphirerapids",
                "znver3",
                "znver4",
            )
        ),
    ],
)
def test_merges_of_bfloat16(form: str, processor: str) -> None:
    code = assembly(form, processor)
    assert is_vectorised(code)
    assert not re.search(r"vfn?m(add|sub)", code), "a product and a sum must be rounded separately"


@on_x86
@pytest.mark.slow
def test_scalar_code_is_noticed() -> None:
    assert not is_vectorised(
        assembly("linear", "skylake-avx512", NUMBA_LOOP_VECTORIZE="0", NUMBA_SLP_VECTORIZE="0")
    )


pytest.importorskip("numba")
PROGRAM = """
import sys
import numpy as np
from kingyo.merging.kernels.machine_code import order
from kingyo.merging.kernels.threads import has_compiler

assert has_compiler()
assert order(np.array([3, 1, 2, 1], np.uint32)).tolist() == [1, 3, 2, 0]
print("numba" in sys.modules)
"""


def test_numba_is_imported_once(tmp_path: Path) -> None:
    def imports_numba() -> str:
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip()

    assert [imports_numba(), imports_numba()] == ["True", "False"]
    (file,) = (each for each in tmp_path.rglob("*") if each.is_file())
    content = file.read_bytes()
    file.write_bytes(content[:-100] + bytes(100))
    assert [imports_numba(), imports_numba()] == ["True", "False"]
    assert file.read_bytes() == content


def test_a_user_may_have_no_home() -> None:
    code = "from kingyo.merging.kernels import machine_code; print(len(machine_code._folders()))"
    known = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    program = f"import os\nos.path.expanduser = lambda path: path\n{code}"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=known, check=True, capture_output=True, text=True).stdout == "1\n"

"""Machine code is made once, and loaded without numba by later processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kingyo.merging.kernels import machine_code

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

HALVES = """
import torch
from kingyo.merging.kernels import Term, WeightedSum
from kingyo.merging.kernels.threads import execution
from kingyo.merging.kernels.writing import prepare

def copied(numbers, dtype):
    term = Term(source=numbers, factor=1.0)
    out = torch.empty(numbers.shape, dtype=dtype)
    with execution(compiled=True):
        pending = prepare(WeightedSum(shape=numbers.shape, terms=(term,)), (0, numbers.numel()), out)
        assert pending.calls is not None
        pending.run()
    return out

halves = torch.arange(-32768, 32768).to(torch.int16).view(torch.float16)
halves = halves[~halves.isnan()]
floats = halves.float()
assert torch.equal(copied(halves, torch.float32).view(torch.int32), floats.view(torch.int32))
middles = (floats + floats.roll(1)) / 2
infinity = torch.tensor(torch.inf)
around = torch.cat([floats, middles, middles.nextafter(infinity), middles.nextafter(-infinity)])
around = around[~around.isnan()]
assert torch.equal(copied(around, torch.float16).view(torch.int16), around.half().view(torch.int16))
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


@pytest.mark.slow
def test_a_processor_without_float16(tmp_path: Path) -> None:
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_CPU_NAME": "generic"}
    done = subprocess.run(
        [sys.executable, "-c", HALVES], env=env, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_user_may_have_no_home() -> None:
    code = "from kingyo.merging.kernels import machine_code; print(len(machine_code._folders()))"
    known = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    program = f"import os\nos.path.expanduser = lambda path: path\n{code}"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=known, check=True, capture_output=True, text=True).stdout == "1\n"


def test_old_code_of_other_versions_is_deleted(tmp_path: Path) -> None:
    new, old, others = (tmp_path / name for name in (f"loops-{'a' * 16}", f"loops-{'0' * 16}", "loops-mine"))
    for folder in (new, old, others):
        machine_code._write(folder, "code", b"")
    long_ago = time.time() - 31 * 86_400
    for folder in (old, others):
        os.utime(folder, (long_ago, long_ago))
    machine_code._write(new, "more", b"")
    assert old.is_dir(), "only a new folder deletes others"
    machine_code._write(tmp_path / f"loops-{'b' * 16}", "code", b"")
    assert not old.exists() and new.is_dir() and others.is_dir()

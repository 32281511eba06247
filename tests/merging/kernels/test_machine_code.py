"""Machine code is made once, and loaded without numba by later processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

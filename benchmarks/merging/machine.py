"""What was measured on: the machine and the versions, in words."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

_VERSIONS = "from importlib.metadata import version as v; print(v('mergekit'), v('torch'), sep=', torch ')"


def describe_machine(peer: Path) -> dict[str, str]:
    """Processor, cores, memory, versions of both tools."""
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    theirs = subprocess.run([peer / "python", "-c", _VERSIONS], capture_output=True, text=True, check=True)
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "kingyo": f"{version('kingyo')}, torch {version('torch')}, numba {version('numba')}",
        "mergekit": theirs.stdout.strip(),
    }

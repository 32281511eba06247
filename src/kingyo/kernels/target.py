"""The processor that loops are compiled for: the one here, or the one that ``NUMBA_CPU_NAME`` names."""

# pyright: basic

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
from numba.core import config

_CONVERSION = """define float @f(half %x) {
  %y = fpext half %x to float
  ret float %y
}"""


def machine() -> llvm.TargetMachine:
    """Return LLVM's description of the processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    chosen: Any = config
    features = chosen.CPU_FEATURES
    if features is None:
        features = "" if chosen.CPU_NAME else llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(
        cpu=chosen.CPU_NAME or llvm.get_host_cpu_name(),
        features=features,
        opt=chosen.OPT,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


@cache
def converts_halves() -> bool:
    """Return whether the processor converts float16; otherwise LLVM calls a library, which may be missing."""
    return "hfsf2" not in machine().emit_assembly(llvm.parse_assembly(_CONVERSION))

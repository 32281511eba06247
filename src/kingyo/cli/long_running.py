"""Helpers of commands that run for long: interruption, and a note about slow merges."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from kingyo.cli.terminal import echo
from kingyo.errors import Interrupted


@contextmanager
def interruptible(message: Callable[[], str]) -> Generator[None]:
    """Turn Ctrl-C and SIGTERM into ``Interrupted``. Later signals are ignored, so that cleanup completes.

    Args:
        message: returns what was kept and how to continue.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(message()) from None


def note_if_slow() -> None:
    """Print a note on standard error if numba cannot be used."""
    from kingyo.kernels.threads import compiler_trouble

    trouble = compiler_trouble()
    if trouble is not None:
        remedy = "Unset it." if "NUMBA_DISABLE_JIT" in trouble else "Run: pip install numba"
        echo(
            f"Note: numba {trouble}. Searches and large merges are slower without it; their results are the "
            f"same. {remedy}",
            err=True,
        )

"""What is said where merges cannot run as compiled code: once, before one begins."""

from __future__ import annotations

from kingyo.cli.terminal import echo


def tell_if_slow() -> None:
    """Say on standard error why numba cannot be used; nothing when it can."""
    from kingyo.kernels.threads import compiler_trouble

    trouble = compiler_trouble()
    if trouble is not None:
        remedy = "Unset it." if "NUMBA_DISABLE_JIT" in trouble else "Bring it back: pip install numba"
        echo(
            f"Note: numba {trouble}, though kingyo asks for it: searches and large merges run slower, to the "
            f"same bits. {remedy}",
            err=True,
        )

"""What is said where merges cannot run as compiled code: once, before one begins."""

from __future__ import annotations

import typer


def tell_if_slow() -> None:
    """Say on standard error that numba is not there; nothing when it is."""
    from kingyo.kernels.passes import has_compiler

    if not has_compiler():
        typer.echo(
            "Note: numba is not installed, though kingyo asks for it: searches and large merges run slower, "
            "to the same bits. Bring it back: pip install numba",
            err=True,
        )

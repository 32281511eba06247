"""Errors as JSON, for commands that were asked for it."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import typer

from kingyo.errors import KingyoError


@contextmanager
def errors_as_json(wanted: bool, made: Sequence[Mapping[str, object]] | None = None) -> Generator[None]:
    """Where JSON is wanted, print an error as such and end with exit code 1; else let it pass.

    Args:
        wanted: whether it is.
        made: models that were written before, for commands that write several.
    """
    try:
        yield
    except KingyoError as error:
        if not wanted:
            raise
        from kingyo.merging.record import error_record

        typer.echo(json.dumps(error_record(error, made), ensure_ascii=False, indent=2))
        raise typer.Exit(1) from None

"""Write the outputs of a checked merge, each with its recipe and model card."""

from __future__ import annotations

from pathlib import Path

from kingyo.checkpoints.atomic_folder import forget
from kingyo.checkpoints.locate import whole_pipeline
from kingyo.engine.card import render_card
from kingyo.engine.folder import Watch, Writing, to_folder
from kingyo.engine.paths import rooted_book
from kingyo.engine.preflight import PlannedOutput, Preflight


def write(preflight: Preflight, target: PlannedOutput, watch: Watch | None = None) -> Path:
    """Write one output, completely or not at all. After an interrupt the same call continues.

    Args:
        preflight: the result of ``check_merge``, without an error.
        target: one of its targets.
        watch: receives progress.

    Returns:
        The folder.

    Raises:
        KingyoError: see ``Preflight.error`` and ``to_folder``.
    """
    if preflight.error is not None:
        raise preflight.error
    request, options, around = preflight.request, preflight.request.options, None
    if options.pipeline:
        around = whole_pipeline(target.plan.like, request.root, allow_pickle=options.allow_pickle)
    files = {
        "recipe.yaml": rooted_book(target.book, request.root, out=target.out).to_yaml(),
        "README.md": render_card(target, pipeline=options.pipeline),
    }
    writing = Writing(is_one_of_several=len(preflight.targets) > 1, around=around, watch=watch)
    return to_folder(target.plan, target.out, files, options, writing)


def finish(preflight: Preflight) -> None:
    """Delete the traces that a rerun would need, after all outputs are written."""
    for target in preflight.targets:
        forget(target.out)

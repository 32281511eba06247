"""Writing what a survey found sound: weights, config, tokenizer, recipe and model card, target by target."""

from __future__ import annotations

from pathlib import Path

from kingyo.checkpoints.partial import forget
from kingyo.checkpoints.pipelines import whole_pipeline
from kingyo.engine import Writing, rooted_book, to_folder
from kingyo.engine.card import render_card
from kingyo.engine.folder import Watch
from kingyo.engine.preflight.survey import PlannedOutput, Preflight


def write(survey: Preflight, target: PlannedOutput, watch: Watch | None = None) -> Path:
    """Write one model; it appears whole or not at all. After an interrupt the same call goes on.

    Args:
        survey: what was found, without an error.
        target: one of its targets.
        watch: is told of progress.

    Raises:
        KingyoError: see ``survey.error`` and ``to_folder``.
    """
    if survey.error is not None:
        raise survey.error
    request, options, around = survey.request, survey.request.options, None
    if options.pipeline:
        around = whole_pipeline(target.plan.like, request.root, allow_pickle=options.allow_pickle)
    files = {
        "recipe.yaml": rooted_book(target.book, request.root, out=target.out).to_yaml(),
        "README.md": render_card(target, pipeline=options.pipeline),
    }
    writing = Writing(is_one_of_several=len(survey.targets) > 1, around=around, watch=watch)
    return to_folder(target.plan, target.out, files, options, writing)


def finish(survey: Preflight) -> None:
    """Let go of what a rerun would have needed, once all targets are written."""
    for target in survey.targets:
        forget(target.out)

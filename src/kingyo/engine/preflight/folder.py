"""Check the output folder of a merge: taken, a source, not writable or too small; and code beside configs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.atomic_folder import check_free, hidden, is_published, unwritable
from kingyo.checkpoints.writer import no_room
from kingyo.engine.folder import check_no_source
from kingyo.engine.options import MergeRequest
from kingyo.engine.preflight.planned import PlannedOutput
from kingyo.errors import KingyoError
from kingyo.vocabulary import Diagnostic


def check_output(request: MergeRequest, outputs: Sequence[PlannedOutput]) -> Iterator[Diagnostic]:
    """Yield findings on the folders of outputs.

    Args:
        request: the arguments of the merge.
        outputs: the outputs; if there are none, only ``request.out`` is checked.
    """
    for out in [each.out for each in outputs] or [request.out]:
        try:
            if not is_published(out):  # the writer notices whether it is the same merge
                check_free(out, force=request.options.force)
        except KingyoError as error:
            yield Diagnostic.of(error)
        except OSError as error:
            yield Diagnostic.of(unwritable(out, error))
    for each in outputs:
        try:
            check_no_source(each.plan, each.out)
        except KingyoError as error:
            yield Diagnostic.of(error)
    yield from _disk(request.out, outputs)
    for template in {id(each.plan.like): each.plan.like for each in outputs}.values():
        yield from _code(template, is_copied=request.options.copy_code)


def existing_parent(path: Path) -> Path:
    """Return the nearest parent folder that exists."""
    return next(parent for parent in path.resolve().parents if parent.exists())


def _disk(out: Path, outputs: Sequence[PlannedOutput]) -> Iterator[Diagnostic]:
    """Check that the disk is writable and large enough."""
    parent = existing_parent(out)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = PermissionError(13, "Permission denied" if parent.is_dir() else f"{parent} is no folder")
        yield Diagnostic.of(unwritable(out, reason))
        return
    needed = sum(each.n_bytes - _finished(each.out) for each in outputs)
    free = shutil.disk_usage(parent).free
    if needed > free:
        yield Diagnostic.of(no_room(out, needed, free))


def _finished(out: Path) -> int:
    """Return the bytes that an interrupted merge has left."""
    content = hidden(out) / "content"
    return sum(file.stat().st_size for file in content.glob("*.safetensors"))


def _code(template: Checkpoint, *, is_copied: bool) -> Iterator[Diagnostic]:
    """Report code that a config names: it is never run, but the output may not load without it."""
    if not template.runs_code:
        return
    if is_copied and not any(template.path.glob("*.py")):
        yield Diagnostic(
            level="error",
            argument="--copy-code",
            expected=f"Python files beside the config of {template.reference}",
            received="none: kingyo downloads no code",
            remedy="Remove --copy-code, or put the files beside the config first.",
        )
        return
    action = "is copied" if is_copied else "is not copied"
    yield Diagnostic(
        level="note" if is_copied else "warning",
        argument=f"the config of {template.reference}",
        expected="a model that transformers loads by itself",
        received=f"one that names code (auto_map), which {action} and was never run",
        remedy="Read it before you trust it."
        if is_copied
        else "Add --copy-code if the result needs it: it is copied, and still not run.",
    )

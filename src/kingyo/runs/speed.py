"""Time a merge and answers of the first candidate, to estimate how long a run takes.

This runs a model for seconds, on a few items, which nobody grades. Answers that are too long to time count as
if all had ``max_new_tokens``. The time of a run leaves out grading and what the strategy computes.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kingyo.core.io.lazy_torch import torch
from kingyo.core.types import DrawsImages
from kingyo.core.user_code.timeout import TooSlowError, within
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.kernels.statistics_cache import memory_size
from kingyo.models.kinds import load_live
from kingyo.runs.begin import threads_of
from kingyo.runs.config import TRAINED
from kingyo.runs.cost import Cost, CostPart, total
from kingyo.runs.model_kind import load_options
from kingyo.runs.preflight import fits_into
from kingyo.runs.run import Run
from kingyo.runs.spaces import frame_of, merged_before_language
from kingyo.runs.tune import expected_seconds
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.tasks import single_tasks

MAX_SECONDS = 10.0
"""Time limit of the measurement, without loading the model."""
_SECONDS = 1.5  # about the time of a batch with short answers
_FULL_SECONDS = 5.0  # about the time of whole answers, if they fit
_NEW_TOKENS = 4
_MOST_PARAMETERS = 10**9  # a dry run should not wait longer for a model
_BYTES = 16  # of memory per parameter
_ANSWERING = ("generate", "write", "log_likelihood", "rate_classes", "write_about", "log_likelihood_about")


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """What was measured.

    Attributes:
        untimed: why nothing was measured; None if it was.
        build_seconds: time to merge a candidate; 0 for a path; None if it was not measured.
        answer_seconds: time of an answer of the first candidate; None likewise.
        is_longest: whether that is an answer of ``max_new_tokens``, since whole ones took too long.
    """

    untimed: str | None = None
    build_seconds: float | None = None
    answer_seconds: float | None = None
    is_longest: bool = False

    def seconds(self, part: CostPart, n_workers: int) -> float | None:
        """Return the time of a part that grades as many answers as it may; None if it is unknown."""
        if part.models is None or self.build_seconds is None or self.answer_seconds is None:
            return part.seconds
        scoring = part.models * (self.build_seconds + part.items * self.answer_seconds)
        scoring /= max(1, min(n_workers, part.models))
        return scoring if part.seconds is None else min(part.seconds, scoring)

    def run_seconds(self, cost: Cost, n_workers: int) -> float | None:
        """Return the time of a run, with a control's training, which takes a share of the search's."""
        seconds = total(self.seconds(part, n_workers) for part in cost.parts)
        seconds = None if seconds is None else seconds + (self.tuning_seconds(cost) or 0.0)
        if seconds is None or all(part.name != TRAINED for part in cost.parts):
            return seconds
        searches = total(self.seconds(part, n_workers) for part in cost.parts if part.stage == "search")
        return None if searches is None else seconds + cost.training * searches

    def tuning_seconds(self, cost: Cost) -> float | None:
        """Return the time to train all LoRAs of tuning; None if it is unknown."""
        if not cost.tuned:
            return 0.0
        return None if self.answer_seconds is None else expected_seconds(cost.tuned, self.answer_seconds)


def measure_speeds(run: Run, seconds: float = MAX_SECONDS) -> Speeds:
    """Time the first candidate of a run within a limit; a failure is the result's ``untimed``."""
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    reason = _obstacle(run, like)
    if reason is not None:
        return Speeds(untimed=reason)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of(run))
    try:
        live = load_live(run.kind, like.path, load_options(run.config))
        _build(run, live)  # this loads or compiles code, which an alarm must not interrupt
        measured: list[Speeds] = []
        within(seconds, lambda: measured.append(_measure(run, live)))
        return measured[0]
    except TooSlowError:
        return Speeds(untimed=f"it would take longer than {seconds:g} s")
    except KingyoError as error:
        return Speeds(untimed=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a model or a user's task may raise anything)
        return Speeds(untimed=f"{type(error).__name__}: {error}"[:200])
    finally:
        torch.set_num_threads(threads)


def _obstacle(run: Run, like: Checkpoint) -> str | None:
    if DrawsImages in run.kind.provides:
        return "drawing an image takes too long"
    if any(model.n_missing for model in (like, *run.models.by_reference.values())):
        return "the weights are not downloaded"
    if like.n_parameters > _MOST_PARAMETERS or _BYTES * like.n_parameters > memory_size():
        return f"a model of {like.n_parameters:,} parameters is too large to try here"
    return None


def _build(run: Run, live: Any) -> float:
    """Merge the first candidate and return the seconds; 0 for a path or another shape."""
    if run.settings.paths is not None or not fits_into(run.plan, run.models.skeleton):
        return 0.0
    merger, started = InPlaceMerger(live, run.open_sources()), time.perf_counter()
    merger(run.first)
    return time.perf_counter() - started


def _measure(run: Run, live: Any) -> Speeds:
    build_seconds = _build(run, live)
    first, _, _ = _answer(run, live, 1)
    n = min(run.config.batch_size, max(1, round(_SECONDS / first)))
    _answer(run, live, n)  # a warm-up, not counted
    seconds, asked, n_items = _answer(run, live, n)
    is_longest = False
    if asked > _NEW_TOKENS:
        most = min(asked, max(_NEW_TOKENS + 1, int(_NEW_TOKENS * _FULL_SECONDS / seconds)))
        longer, _, _ = _answer(run, live, n, most)
        per_token = max(0.0, longer - seconds) / (most - _NEW_TOKENS)
        seconds = longer + (asked - most) * per_token
        is_longest = most < asked
    return Speeds(build_seconds=build_seconds, answer_seconds=seconds / n_items, is_longest=is_longest)


def _answer(run: Run, live: Any, n: int, most: int = _NEW_TOKENS) -> tuple[float, int, int]:
    """Answer about ``n`` items of fit with up to ``most`` tokens, as many of each task.

    Returns:
        The seconds, the tokens that the tasks would allow, 0 if models write none, and the number of items.
    """
    if merged_before_language(run):
        getattr(live, "forget_images", lambda: None)()
    tasks, n_items = single_tasks(run.task), 0
    model, started = _Short(live, most), time.perf_counter()
    for task in tasks:
        items = task.items("fit")[: math.ceil(n / len(tasks))]
        n_items += len(items)
        with suppress(_AnsweredError):
            task.score(model, items)
    return time.perf_counter() - started, model.asked, n_items


class _AnsweredError(Exception):
    """Stops a task after its first answers."""


class _Short:
    """A live model that gives answers of at most ``most`` tokens, and stops the task before grading."""

    def __init__(self, live: Any, most: int) -> None:
        self._live = live
        self._most = most
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._live, name)
        if name not in _ANSWERING:
            return own

        def answer(*given: Any, **options: Any) -> None:
            if "max_new_tokens" in options:
                self.asked = max(self.asked, options["max_new_tokens"])
                options["max_new_tokens"] = min(self._most, options["max_new_tokens"])
            own(*given, **options)
            raise _AnsweredError

        return answer

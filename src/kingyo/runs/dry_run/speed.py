"""Measure how fast models answer here, with each dtype and number of threads, and how long a run takes.

This runs a model for seconds: a few items with short answers, which nobody grades. Longer answers in larger
batches have other speeds, but mostly the same order. Then it merges the first candidate, which answers as the
run's own do. The time of a run leaves out grading and what the strategy computes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from kingyo.core.io.lazy_torch import torch
from kingyo.core.types import DrawsPictures, Item, Task
from kingyo.core.user_code.timeout import TooSlowError, within
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.kernels.statistics_cache import memory_size
from kingyo.models.kinds import load_live
from kingyo.runs.begin import threads_of
from kingyo.runs.config import TRAINED
from kingyo.runs.dry_run.cost import Cost, CostPart, total
from kingyo.runs.model_kind import load_options
from kingyo.runs.preflight import fits_into
from kingyo.runs.run import Run
from kingyo.runs.spaces import frame_of, merged_before_language
from kingyo.runs.tune import expected_seconds
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.tasks import single_tasks

MAX_SECONDS = 10.0
"""Time limit of all measurements together, without loading the first model."""
_SECONDS = 1.5  # about the time of one measurement with the run's own settings
_FULL_SECONDS = 5.0  # about the time of whole answers, if they fit
_REPEATS = 3
_NEW_TOKENS = 4
_MOST_PARAMETERS = 10**9  # a dry run should not wait longer for a model
_BYTES = 16  # of memory per parameter
_CLEARLY = 1.2
"""A speed counts as better if it is this many times as high; single measurements differ by less."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Answers per second with a dtype and a number of threads."""

    dtype: str
    threads: int
    answers_per_second: float


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The speeds that were measured.

    Attributes:
        items: number of items.
        new_tokens: most tokens of an answer; None if the models write none.
        measured: the run's own dtype and threads first; empty if nothing was measured.
        reason: why a dtype or number of threads was not measured; None if all were.
        untimed: why the time of a candidate was not measured; None if it was.
        build_seconds: time to merge a candidate; 0 for a path; None if it was not measured.
        answer_seconds: time of an answer of the first candidate, with the run's own settings; None likewise.
        is_longest: whether that is an answer of ``max_new_tokens``, since whole ones took too long.
    """

    items: int = 0
    new_tokens: int | None = None
    measured: tuple[Speed, ...] = ()
    reason: str | None = None
    untimed: str | None = None
    build_seconds: float | None = None
    answer_seconds: float | None = None
    is_longest: bool = False

    @property
    def better(self) -> Speed | None:
        """The fastest of all, if it is clearly faster than the run's own dtype and threads."""
        best = max(self.measured, key=lambda each: each.answers_per_second, default=None)
        if best is None or best.answers_per_second < _CLEARLY * self.measured[0].answers_per_second:
            return None
        return best

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


def measure_speeds(run: Run, seconds: float = MAX_SECONDS, *, is_timed: bool = True) -> Speeds:
    """Measure the speeds of a run's models; a failure or a time limit is the result's ``reason``.

    Args:
        run: opened.
        seconds: limit for comparing settings, and again for the time of a candidate.
        is_timed: also measure that time.
    """
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    reason = _obstacle(run, like)
    if reason is not None:
        return Speeds(reason=reason, untimed=reason)
    meter, threads = _Meter(run, like), torch.get_num_threads()
    try:
        reason = _failure(seconds, meter.load_own, meter.measure)
        untimed = reason
        if is_timed and meter.measured:
            untimed = _failure(seconds, meter.warm_up, meter.estimate)
    finally:
        torch.set_num_threads(threads)
    return Speeds(
        items=meter.n_items,
        new_tokens=meter.new_tokens,
        measured=tuple(meter.measured),
        reason=reason,
        untimed=untimed,
        build_seconds=meter.build_seconds,
        answer_seconds=meter.answer_seconds,
        is_longest=meter.is_longest,
    )


def _failure(seconds: float, begin: Callable[[], None], measure: Callable[[], None]) -> str | None:
    """Measure within a time limit, and return why that failed; an alarm must not interrupt first imports."""
    try:
        begin()
        within(seconds, measure)
    except TooSlowError:
        return f"it would take longer than {seconds:g} s"
    except KingyoError as error:
        return str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a model or a user's task may raise anything)
        return f"{type(error).__name__}: {error}"[:200]
    return None


def _obstacle(run: Run, like: Checkpoint) -> str | None:
    """Return why the models of a run cannot be measured in seconds, or None."""
    if DrawsPictures in run.kind.provides:
        return "drawing a picture takes too long"
    if any(model.n_missing for model in (like, *run.models.by_reference.values())):
        return "the weights are not downloaded"
    if like.n_parameters > _MOST_PARAMETERS or _BYTES * like.n_parameters > memory_size():
        return f"a model of {like.n_parameters:,} parameters is too large to try here"
    return None


_Work: TypeAlias = list[tuple[Task, Sequence[Item]]]


class _Meter:
    """Measures one live model after the other; what is measured stays when it is interrupted."""

    def __init__(self, run: Run, like: Checkpoint) -> None:
        self._run = run
        self._path = like.path
        self._live: Any = None
        self._sources = run.open_sources()
        self._work: _Work = []
        self.measured: list[Speed] = []
        self._asked: int | None = None
        self.build_seconds: float | None = None
        self.answer_seconds: float | None = None
        self.is_longest = False

    @property
    def new_tokens(self) -> int | None:
        """Most tokens of a short answer; None if the models write none."""
        return None if self._asked is None else min(_NEW_TOKENS, self._asked)

    @property
    def n_items(self) -> int:
        """Number of items that are answered at a time."""
        return sum(len(items) for _, items in self._work)

    def load_own(self) -> None:
        self.load(self._run.config.merge.dtype)

    def load(self, dtype: str | None) -> None:
        self._live = None  # frees its memory first
        options = replace(load_options(self._run.config), dtype=dtype)
        self._live = load_live(self._run.kind, self._path, options)

    def measure(self) -> None:
        """Measure each dtype with the run's threads, then the fastest one with other numbers of threads."""
        config, own = self._run.config, threads_of(self._run)
        most = max(1, torch.get_num_threads() // config.workers)
        torch.set_num_threads(own)
        affordable = round(_SECONDS / self._answer(self._items(1)))
        self._work = self._items(min(config.batch_size, max(1, affordable)))
        for dtype in dict.fromkeys((str(self._live.dtype), "float32", "bfloat16")):
            self._time(dtype, own)
        best = max(self.measured, key=lambda each: each.answers_per_second)
        if config.device == "cpu":
            for threads in sorted({1, (most + 1) // 2, most} - {own}):
                self._time(best.dtype, threads)

    def warm_up(self) -> None:
        """Merge the first candidate, with the run's own settings; this loads or compiles code."""
        own = self.measured[0]
        torch.set_num_threads(own.threads)
        self.load(own.dtype)
        self._build()

    def estimate(self) -> None:
        """Measure a merge, and whole answers of the first candidate."""
        self.build_seconds = self._build()
        changes_images = bool(merged_before_language(self._run))
        self._answer(self._work)
        seconds = short = self._answer(self._work, forget=changes_images)
        if (asked := self._asked or 0) > _NEW_TOKENS:
            n = min(asked, max(_NEW_TOKENS + 1, int(_NEW_TOKENS * _FULL_SECONDS / short)))
            seconds = self._answer(self._work, n, forget=changes_images)
            seconds += (asked - n) * max(0.0, seconds - short) / (n - _NEW_TOKENS)
            self.is_longest = n < asked
        self.answer_seconds = seconds / self.n_items

    def _build(self) -> float:
        """Merge the first candidate and return the seconds; 0 for a path or another shape."""
        run = self._run
        if run.settings.paths is not None or not fits_into(run.plan, run.models.skeleton):
            return 0.0
        started = time.perf_counter()
        InPlaceMerger(self._live, self._sources)(run.first)
        return time.perf_counter() - started

    def _time(self, dtype: str, threads: int) -> None:
        """Measure a dtype, unless the kind of model does not know it."""
        torch.set_num_threads(threads)
        if self._live.dtype != dtype:
            self.load(dtype)
        if self._live.dtype == dtype:
            times = [self._answer(self._work)]
            while len(times) < _REPEATS and sum(times) < _SECONDS / 2:
                times.append(self._answer(self._work))
            rate = self.n_items / min(times)
            self.measured.append(Speed(dtype=dtype, threads=threads, answers_per_second=rate))

    def _items(self, n: int) -> _Work:
        """Return about ``n`` items of fit, as many of each task."""
        tasks = single_tasks(self._run.task)
        return [(each, each.items("fit")[: math.ceil(n / len(tasks))]) for each in tasks]

    def _answer(self, work: _Work, most: int = _NEW_TOKENS, *, forget: bool = True) -> float:
        """Return the seconds to answer items with up to ``most`` tokens; ``forget`` encodes images again."""
        if forget:
            getattr(self._live, "forget_images", lambda: None)()
        model, started = _Short(self._live, most), time.perf_counter()
        for task, items in work:
            with suppress(_AnsweredError):
                task.score(model, items)
        self._asked = model.asked
        return time.perf_counter() - started


_ANSWERING = ("generate", "write", "log_likelihood", "rate_classes", "write_about", "log_likelihood_about")


class _AnsweredError(Exception):
    """Stops a task after its first answers."""


class _Short:
    """A live model that gives answers of at most ``most`` tokens, and stops the task before grading."""

    def __init__(self, live: Any, most: int) -> None:
        self._live = live
        self._most = most
        self.asked: int | None = None

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._live, name)
        if name not in _ANSWERING:
            return own

        def answer(*given: Any, **options: Any) -> None:
            if "max_new_tokens" in options:
                self.asked = max(self.asked or 0, options["max_new_tokens"])
                options["max_new_tokens"] = min(self._most, options["max_new_tokens"])
            own(*given, **options)
            raise _AnsweredError

        return answer

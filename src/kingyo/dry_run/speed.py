"""Measure how fast the models of a run answer here, with each dtype and number of threads.

This runs a model for seconds: a few items with short answers, which nobody grades. Longer answers in larger
batches have other speeds, but mostly the same order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from kingyo.checkpoints import Checkpoint
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import torch
from kingyo.kernels.statistics_cache import memory_size
from kingyo.models.kinds import AllRead, load_live
from kingyo.run.begin import threads_of
from kingyo.run.layer_paths import frame_of
from kingyo.run.model_kind import load_options
from kingyo.run.run import Run
from kingyo.tasks import single_tasks
from kingyo.types import DrawsPictures, Item, Task
from kingyo.user_code.timeout import TooSlowError, within

MAX_SECONDS = 10.0
"""Time limit of all measurements together, without loading the first model."""
_SECONDS = 1.5  # about the time of one measurement with the run's own settings
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
        reason: why something was not measured; None if everything was.
    """

    items: int = 0
    new_tokens: int | None = None
    measured: tuple[Speed, ...] = ()
    reason: str | None = None

    @property
    def better(self) -> Speed | None:
        """The fastest of all, if it is clearly faster than the run's own dtype and threads."""
        best = max(self.measured, key=lambda each: each.answers_per_second, default=None)
        if best is None or best.answers_per_second < _CLEARLY * self.measured[0].answers_per_second:
            return None
        return best


def measure_speeds(run: Run, seconds: float = MAX_SECONDS) -> Speeds:
    """Measure the speeds of a run's models; a failure or a time limit is the result's ``reason``."""
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    reason = _obstacle(run, like)
    if reason is not None:
        return Speeds(reason=reason)
    meter, threads = _Meter(run, like), torch.get_num_threads()
    try:
        meter.load(run.config.merge.dtype)  # an alarm must not interrupt the first import of a library
        within(seconds, meter.measure)
    except TooSlowError:
        reason = f"it would take longer than {seconds:g} s"
    except KingyoError as error:
        reason = str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a model or a user's task may raise anything)
        reason = f"{type(error).__name__}: {error}"[:200]
    finally:
        torch.set_num_threads(threads)
    return Speeds(
        items=meter.n_items, new_tokens=meter.new_tokens, measured=tuple(meter.measured), reason=reason
    )


def _obstacle(run: Run, like: Checkpoint) -> str | None:
    """Return why the models of a run cannot be measured in seconds, or None."""
    if DrawsPictures in run.kind.provides:
        return "drawing a picture takes too long"
    if like.n_missing:
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
        self._work: _Work = []
        self.measured: list[Speed] = []
        self.new_tokens: int | None = None

    @property
    def n_items(self) -> int:
        """Number of items that are answered at a time."""
        return sum(len(items) for _, items in self._work)

    def load(self, dtype: str | None) -> None:
        """Load the model in a dtype; None is its own."""
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

    def _answer(self, work: _Work) -> float:
        """Answer items and return the seconds. Images are encoded anew."""
        getattr(self._live, "forget_images", lambda: None)()
        model, started = _Short(self._live), time.perf_counter()
        for task, items in work:
            with suppress(AllRead):
                task.score(model, items)
        self.new_tokens = model.new_tokens
        return time.perf_counter() - started


_ANSWERING = ("generate", "write", "log_likelihood", "rate_classes", "write_about", "log_likelihood_about")


class _Short:
    """A live model that gives short answers, and raises AllRead instead of returning them to a grader."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self.new_tokens: int | None = None

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._live, name)
        if name not in _ANSWERING:
            return own

        def answer(*given: Any, **options: Any) -> None:
            if "max_new_tokens" in options:
                self.new_tokens = options["max_new_tokens"] = min(_NEW_TOKENS, options["max_new_tokens"])
            own(*given, **options)
            raise AllRead

        return answer

"""Actors of a Ray cluster: the one that RAY_ADDRESS names, or one on this machine that ends with the runner.

ray is an extra without complete types. It is imported when a runner is created.
"""

import os
import signal
import threading
from contextlib import suppress
from typing import Any

from kingyo.core.io.extras import library
from kingyo.core.types import Evaluation, Progress
from kingyo.errors import KingyoError
from kingyo.search.runners.runner import Factory, Job
from kingyo.search.runners.worker_pool import Worker, WorkerDiedError, WorkerPool


class RayRunner(WorkerPool):
    """A runner on actors of a Ray cluster.

    Args:
        factory: builds the evaluator, once in each worker; it is pickled. On several machines, the
            files that it reads must have the same paths everywhere.
        n_workers, timeout: see ``WorkerPool``.
        cpus, gpus: number for each worker.
    """

    def __init__(
        self, factory: Factory, *, n_workers: int, timeout: float | None = None, cpus: int = 1, gpus: int = 0
    ) -> None:
        self._ray = _import_ray()
        self._resources = {"CPU": cpus, "GPU": gpus}
        self._is_connected = False
        self._owns_cluster = False
        super().__init__(lambda: RayWorker(self._ray, factory, cpus, gpus), n_workers, timeout)

    def submit(self, job: Job) -> None:
        if not self._is_connected:
            self._connect()
        super().submit(job)

    def close(self) -> None:
        super().close()
        if self._owns_cluster:
            self._ray.shutdown()
            self._owns_cluster = self._is_connected = False

    def _connect(self) -> None:
        if not self._ray.is_initialized():
            self._init()
            self._owns_cluster = True
        self._require_resources()
        self._is_connected = True

    def _init(self) -> None:
        address = os.environ.get("RAY_ADDRESS")
        size = {"num_cpus": self.n_workers * self._resources["CPU"]}
        where = {"address": address} if address else size
        before = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            expected = f"a cluster at {address}" if address else "a cluster that starts on this machine"
            remedy = "Start the cluster, or set RAY_ADDRESS to the address of one; `ray status` shows it."
            raise KingyoError("runner: ray", expected, str(error), remedy) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # ray replaces the handler of the command

    def _require_resources(self) -> None:
        available = self._ray.cluster_resources()
        for name, each in self._resources.items():
            if available.get(name, 0) < each * self.n_workers:
                expected = f"a Ray cluster with {each * self.n_workers} {name}s: {each} for each worker"
                remedy = "Take fewer workers (or threads), or a larger cluster."
                raise KingyoError("workers", expected, f"one with {available.get(name, 0):g}", remedy)


class RayWorker:
    """A Ray actor, seen from the run; see ``WorkerHandle``."""

    def __init__(self, ray: Any, factory: Factory, cpus: int, gpus: int) -> None:
        self._ray = ray
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0}
        self._actor = ray.remote(Worker).options(**options).remote(factory)
        self._end = "killed"

    @property
    def is_alive(self) -> bool:
        return True

    def start(self, timeout: float) -> Exception | None:
        return self._get(self._actor.start.remote(), timeout)

    def evaluate(self, job: Job, timeout: float | None, progress: Progress) -> Evaluation | Exception:  # noqa: ARG002 (an actor answers once)
        return self._get(self._actor.evaluate.remote(job), timeout)

    def kill(self) -> str:
        with suppress(self._ray.exceptions.RayError):  # it has ended
            self._ray.kill(self._actor)
        return self._end

    def _get(self, reference: Any, timeout: float | None) -> Any:
        try:
            return self._ray.get(reference, timeout=timeout)
        except TimeoutError:
            raise
        except self._ray.exceptions.RayError as error:
            self._end = f"{type(error).__name__} of Ray: {' '.join(str(error).split())[:200]}"
            raise WorkerDiedError from error


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no statistics are sent
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    return library("runner", "ray", "Or write `runner: processes`.")

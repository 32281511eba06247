"""Workers that are actors of a Ray cluster: an existing one, or one on this machine for as long as it takes.

ray is imported when the first job is submitted. It is an extra, and it has no complete types: the protocols
here say what is used of it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from kingyo.errors import KingyoError
from kingyo.runners.crew import Crew
from kingyo.runners.runner import Factory, Job
from kingyo.runners.worker import Gone, News, Worker


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where actors are, and what each of them takes.

    Attributes:
        address: of a cluster, as ``ray.init`` takes it. None is the one that RAY_ADDRESS names or that this
            process is connected to; where there is none, Ray begins one on this machine.
        cpus, gpus: that each worker takes.
    """

    address: str | None = None
    cpus: int = 1
    gpus: int = 0


HERE = Place()


class RayRunner(Crew["_Actor"]):
    """A runner with Ray actors as workers.

    Args:
        factory: builds what scores recipes, once in each worker; it is pickled. On a cluster of several
            machines the files that it reads must be at the same paths everywhere.
        n_workers: how many at most.
        timeout: seconds that a job may take; then its worker is killed and replaced. None: any time.
        place: where they are.

    Raises:
        KingyoError: ray is not installed.
    """

    def __init__(
        self, factory: Factory, *, n_workers: int, timeout: float | None = None, place: Place = HERE
    ) -> None:
        super().__init__(_Cluster(factory, n_workers, place), n_workers, timeout)


class _Reference(Protocol):
    """A result that is to come."""


class _Method(Protocol):
    def remote(self, *arguments: object) -> _Reference: ...


class _Handle(Protocol):
    """A remote ``Worker``."""

    begin: _Method
    answer: _Method


class _ActorClass(Protocol):
    def options(self, *, num_cpus: int, num_gpus: int, max_restarts: int) -> _ActorClass: ...

    def remote(self, factory: Factory) -> _Handle: ...


class _Ray(Protocol):
    """The module."""

    def is_initialized(self) -> bool: ...
    def init(self, **settings: object) -> object: ...
    def shutdown(self) -> None: ...
    def cluster_resources(self) -> Mapping[str, float]: ...
    def remote(self, kind: type[Worker], /) -> _ActorClass: ...
    def get(self, reference: _Reference) -> News: ...
    def wait(
        self, references: list[_Reference], *, timeout: float | None
    ) -> tuple[list[_Reference], list[_Reference]]: ...
    def kill(self, actor: _Handle) -> None: ...


class _Cluster:
    """Connects when the first worker is wanted; shuts down what it began."""

    def __init__(self, factory: Factory, n_workers: int, place: Place) -> None:
        self._factory = factory
        self._n_workers = n_workers
        self._place = place
        self._ray = _import_ray()
        self._is_mine = False

    def start(self) -> _Actor:
        if not self._ray.is_initialized():
            self._connect()
            self._is_mine = True
        self._require_room()
        kind = self._ray.remote(Worker).options(
            num_cpus=self._place.cpus, num_gpus=self._place.gpus, max_restarts=0
        )
        return _Actor(self._ray, kind.remote(self._factory))

    def wait(self, seats: Sequence[_Actor], seconds: float | None) -> list[_Actor]:
        waiting = [seat.coming for seat in seats if seat.coming is not None]
        told, _ = self._ray.wait(waiting, timeout=seconds)
        return [seat for seat in seats if seat.coming in told]

    def close(self) -> None:
        if self._is_mine:
            self._ray.shutdown()
            self._is_mine = False

    def _connect(self) -> None:
        address = self._place.address or os.environ.get("RAY_ADDRESS")
        size = {"num_cpus": self._n_workers * self._place.cpus} if address is None else {"address": address}
        before = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(**size, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise KingyoError(
                "runner: ray",
                expected=f"a cluster at {address}" if address else "a cluster that starts on this machine",
                received=str(error),
                remedy="Start the cluster, or set RAY_ADDRESS to the address of one; `ray status` shows it.",
            ) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # what stops a run is the business of the command

    def _require_room(self) -> None:
        """Ray would wait for ever for what a cluster does not have."""
        has = self._ray.cluster_resources()
        wanted = {"CPU": self._place.cpus, "GPU": self._place.gpus}
        for name, each in wanted.items():
            if has.get(name, 0) < each * self._n_workers:
                raise KingyoError(
                    "workers",
                    expected=f"a Ray cluster with {each * self._n_workers} {name}s: {each} for each worker",
                    received=f"one with {has.get(name, 0):g}",
                    remedy="Take fewer workers (or threads), or a larger cluster.",
                )


class _Actor:
    """One actor, seen from here."""

    def __init__(self, ray: _Ray, handle: _Handle) -> None:
        self._ray = ray
        self._handle = handle
        self.coming: _Reference | None = handle.begin.remote()

    def give(self, job: Job) -> None:
        self.coming = self._handle.answer.remote(job)

    def hear(self) -> News:
        assert self.coming is not None, "it has something to say"
        reference, self.coming = self.coming, None
        try:
            return self._ray.get(reference)
        except Exception as error:
            if not isinstance(error, _ray_error()):
                raise
            return Gone(how=f"{type(error).__name__} of Ray: {_first_line(error)}")

    def end(self) -> None:
        with suppress(_ray_error()):  # it has ended by itself
            self._ray.kill(self._handle)


def _import_ray() -> _Ray:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it must not call home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns; nothing depends on it
    try:
        return cast(_Ray, import_module("ray"))
    except ImportError as error:
        raise KingyoError(
            "runner",
            expected="'local' or 'processes', or ray installed",
            received="'ray' without the package",
            remedy="In a clone of kingyo: pip install -e '.[ray]'",
        ) from error


def _ray_error() -> type[Exception]:
    return cast("type[Exception]", import_module("ray.exceptions").RayError)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")

"""The child process of ``grader_process``: build graders, call them, and write one line per result."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import cast

from kingyo.errors import KingyoError
from kingyo.tasks.grader import Grader, build_grader, call_check, call_grader
from kingyo.tasks.grader_process import Action, GraderReference
from kingyo.types import Item


def serve(connection: int, life: int) -> None:
    """Answer requests until the connection is closed.

    Args:
        connection: descriptor of a socket: pickled requests come in, lines of JSON go out.
        life: descriptor of a pipe that closes when the parent ends for any reason.
    """
    for descriptor in (connection, life):
        os.set_inheritable(descriptor, False)  # subprocesses of graders must not keep them open
    _end_with_parent(life)
    with suppress(OSError):  # standard error is closed
        os.dup2(2, 1)  # graders print to standard error
    sys.stdout = sys.stderr
    graders: dict[bytes, tuple[str, Grader]] = {}
    with socket.socket(fileno=connection) as channel, channel.makefile("rb") as requests:
        while True:
            try:
                request = pickle.load(requests)
            except (EOFError, OSError):
                return
            _answer(graders, request, lambda result: channel.sendall(json.dumps(result).encode() + b"\n"))


def _answer(
    graders: dict[bytes, tuple[str, Grader]],
    request: tuple[bytes, Action | str, list[tuple[object, ...]]],
    send: Callable[[object], None],
) -> None:
    key, action, questions = request
    try:
        if action == "build":
            reference = cast(GraderReference, pickle.loads(key))
            graders[key] = reference.name, build_grader(reference.name, reference.option, reference.folder)
            send(1.0)
        for question in questions:
            name, grader = graders[key]
            call = partial(call_check if action == "check" else _graded, grader, *question)
            send(call_grader(name, call, cast(Item, question[-1]), None))
    except KingyoError as error:
        send([error.argument, error.expected, error.received, error.remedy])


def _graded(grader: Grader, answer: str, item: Item) -> float:
    try:
        return grader(answer, item)
    except Exception:
        raise
    except BaseException as error:  # not an interrupt of this process, so the grader's own
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _end_with_parent(life: int) -> None:
    """Kill this process and everything it starts when the parent ends."""
    if not hasattr(fcntl, "F_SETSIG"):
        Thread(target=_watch, args=(life,), name="kingyo-parent", daemon=True).start()
        return
    # Linux needs no thread for it, so it works while a grader's C code holds Python's lock.
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # the parent ended before
        os.killpg(0, signal.SIGKILL)


def _watch(life: int) -> None:
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)

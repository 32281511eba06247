"""The process ``kingyo``, and ``python -m kingyo``: the command line from its first moment to its last."""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress

from kingyo.errors import error_record, wants_json

_QUICK = {"merge", "diff", "list"}  # the others run graders, whose files may still be open at the end


def process() -> None:
    """Run the command line, without what Python does for programs that live longer."""
    gc.set_threshold(100_000)  # not to look for garbage again and again among all that importing torch makes
    try:
        _run()
    except KeyboardInterrupt:
        _tell_interrupted()
        sys.exit(130)
    except SystemExit as end:
        if _QUICK.intersection(sys.argv[1:2]) and isinstance(end.code, int):
            _leave(end.code)
        raise


def _run() -> None:
    from kingyo.cli import main  # it takes a moment, in which somebody may think better of it
    from kingyo.cli.terminal import visible

    try:
        main()
    except Exception:  # noqa: BLE001  # a mistake of kingyo's own, whose text may be anybody's
        print(visible(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    finally:
        if wants_json(sys.argv[1:]) and sys.stdout is not None:
            with suppress(OSError):  # it was told
                sys.stdout.flush()
                os.dup2(2, 1)  # what is still printed as the process ends is no answer


def _tell_interrupted() -> None:
    """Say so, without anything of the command line, which is not loaded."""
    if wants_json(sys.argv[1:]):
        print(json.dumps(error_record("Interrupted."), indent=2))  # noqa: T201
    else:
        print("Interrupted.", file=sys.stderr)  # noqa: T201


def _leave(code: int) -> None:
    """End here, since Python takes half a second to take torch apart; return where it has more to do."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends now
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.flush()
    except OSError:  # Python has words and an exit code of its own for that
        return
    os._exit(code)


if __name__ == "__main__":
    process()

"""The process ``kingyo``, and ``python -m kingyo``: the command line from its first moment to its last."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading

_QUICK = {"merge", "diff", "list"}  # the others run graders, whose files may still be open at the end


def process() -> None:
    """Run the command line, without what Python does for programs that live longer."""
    gc.set_threshold(100_000)  # not to look for garbage again and again among all that importing torch makes
    try:
        from kingyo.cli import main  # it takes a moment, in which somebody may think better of it

        main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except SystemExit as end:
        if _QUICK.intersection(sys.argv[1:2]) and isinstance(end.code, int):
            _leave(end.code)
        raise


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

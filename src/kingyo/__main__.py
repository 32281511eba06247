"""Entry point of ``kingyo`` and ``python -m kingyo``."""

import _thread
import atexit
import gc
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress

from kingyo.errors import error_record, wants_json

_QUICK = {"merge", "diff", "list"}  # other commands run graders, whose files may still be open at exit
_REPEAT_SECONDS = 0.05  # by then most finalisers and callbacks have returned


def process() -> None:
    """Run the command line with little garbage collection and a fast exit."""
    gc.set_threshold(200_000)  # importing torch creates many objects, and scanning them is slow
    sys.unraisablehook = _repeat_interrupt
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that cleanup takes place
    try:
        _run()
    except KeyboardInterrupt:
        _print_interrupted()
        sys.exit(130)
    except SystemExit as end:
        if _QUICK.intersection(sys.argv[1:2]) and isinstance(end.code, int):
            _leave(end.code)
        raise


def _run() -> None:
    from kingyo.cli import main  # slow; imported here so that Ctrl-C during the import is handled
    from kingyo.cli.output import visible

    try:
        main()
    except Exception:  # noqa: BLE001  # a bug; its text may contain control characters
        print(visible(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    finally:
        if wants_json(sys.argv[1:]) and sys.stdout is not None:
            with suppress(OSError):  # main() has reported it
                sys.stdout.flush()
                os.dup2(2, 1)  # output at exit must not follow the JSON document


def _repeat_interrupt(dropped: "sys.UnraisableHookArgs") -> None:
    """Repeat an interrupt that arrived in a finaliser or callback, where Python drops exceptions."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    number = signal.SIGINT if handled else signal.SIGTERM
    _thread.start_new_thread(lambda: (time.sleep(_REPEAT_SECONDS), _thread.interrupt_main(number)), ())


def _print_interrupted() -> None:
    if wants_json(sys.argv[1:]):
        print(json.dumps(error_record("Interrupted."), indent=2))  # noqa: T201
    else:
        print("Interrupted.", file=sys.stderr)  # noqa: T201


def _leave(code: int) -> None:
    """Exit at once, because unloading torch takes half a second. Return if other threads still run."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.flush()
    except OSError:  # Python reports it, with its own exit code
        return
    os._exit(code)


if __name__ == "__main__":
    process()

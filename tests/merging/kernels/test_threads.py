from threading import Event

from kingyo.merging.kernels.threads import execution, map_spans


def test_the_caller_does_the_work_of_busy_threads():
    release = Event()
    with execution(compiled=False, threads=2) as here:
        assert here.pool is not None
        busy = here.pool.submit(release.wait)
        try:
            spans = map_spans(1 << 20, lambda span: span)
        finally:
            release.set()
    assert busy.result()
    assert spans == [(0, 1 << 19), (1 << 19, 1 << 20)]

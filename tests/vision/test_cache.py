"""The bounded cache."""

from kingyo.vision.cache import BoundedCache


def test_a_value_that_is_put_twice_counts_once() -> None:
    cache = BoundedCache[bytes](4, len)
    for _ in range(3):
        cache.put("a", b"aa")
    cache.put("b", b"bb")
    assert (cache.get("a"), cache.get("b")) == (b"aa", b"bb")
    cache.put("c", b"c")
    assert (cache.get("a"), cache.get("c")) == (None, b"c")

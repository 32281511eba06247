"""What is the same for all candidates is kept in memory and in files, and comes back to the bit."""

import resource
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kingyo.models.vision import cache as module
from kingyo.models.vision.cache import Cache

Features = Mapping[str, Any]


def features(n: int, dtype: torch.dtype = torch.float32) -> Features:
    """Return features in all forms that models have, of about 1 kB."""
    noise = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(n)).to(dtype)
    return {"pooler_output": [noise[:3], noise[3:]], "deepstack_features": [[noise + 1], [noise.mT + 2]]}


def flat(each: Features | None) -> list[torch.Tensor]:
    assert each is not None
    return [*each["pooler_output"], *(tensor for layer in each["deepstack_features"] for tensor in layer)]


def assert_same(kept: Features | None, computed: Features) -> None:
    for mine, its in zip(flat(kept), flat(computed), strict=True):
        assert mine.dtype == its.dtype and mine.shape == its.shape
        assert mine.contiguous().view(torch.uint8).equal(its.contiguous().view(torch.uint8))


def filled(folder: Path | None, n: int = 20) -> Cache[Features]:
    cache = Cache[Features](3000, folder=folder)
    for i in range(n):
        cache.put(i, features(i))
    return cache


def kept(cache: Cache[Features], n: int = 20) -> list[int]:
    return [i for i in range(n) if cache.get(i) is not None]


def test_without_a_folder_the_least_recently_used_values_leave() -> None:
    cache = Cache[bytes](4, len)
    for text in (b"aa", b"bb", b"cc"):
        assert cache.put(text, text) == text
    assert [cache.get(text) for text in (b"aa", b"bb", b"cc")] == [None, b"bb", b"cc"]
    cache.get(b"bb")
    cache.put(b"dd", b"dd")
    assert (cache.get(b"bb"), cache.get(b"cc"), cache.n_bytes) == (b"bb", None, 4)
    cache.put(b"dd", b"dddd")
    assert (cache.get(b"bb"), cache.get(b"dd"), cache.n_bytes) == (None, b"dddd", 4)
    cache.put(b"e", b"eeeee")
    assert (cache.get(b"e"), cache.n_bytes) == (None, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_come_back_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    cache = Cache[Features](3000, folder=tmp_path)
    for i in range(20):
        cache.put(i, features(i, dtype))
        assert_same(cache.get(i), features(i, dtype))
    for i in range(20):
        assert_same(cache.get(i), features(i, dtype))
    assert 0 < cache.n_bytes <= 3000 < cache.n_file_bytes
    assert list(tmp_path.iterdir()) == [], "the file has no name, and ends with the process"


def test_one_warning_after_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 8000)
    with pytest.warns(UserWarning, match="do not fit") as messages:
        cache = filled(tmp_path)
        cache.clear()
        for i in range(20):
            cache.put(i, features(i))
    assert len(messages) == 1
    n = len(kept(cache))
    assert 2 < n < 20 and kept(cache) == list(range(n))


def test_half_of_the_free_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=40_000))
    with pytest.warns(UserWarning, match="do not fit"):
        cache = filled(tmp_path)
    assert 10_000 < cache.n_file_bytes <= 20_000


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_loses_no_values(tmp_path: Path) -> None:
    cache = filled(tmp_path, 5)
    with full_disk(700), pytest.warns(UserWarning, match="do not fit"):
        cache.put(5, features(5))
    assert kept(cache) == [0, 1, 2, 3, 4]
    for i in range(5):
        assert_same(cache.get(i), features(i))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="No such file"):
        cache = filled(tmp_path / "none")
    assert kept(cache) == [0, 1]
    with warnings.catch_warnings(action="error"):
        cache.put(30, features(30))


def test_values_in_use_outlive_their_file(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    in_use = cache.get(19)
    cache.clear()
    assert kept(cache) == [] and cache.n_file_bytes == cache.n_bytes == 0
    for i in range(20):
        cache.put(i, features(100 + i))
    assert_same(in_use, features(19))
    assert_same(cache.get(19), features(119))

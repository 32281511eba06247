"""Image features are kept in memory and in a file, come back to the bit, and leave no file behind."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from kingyo.models import feature_file, feature_store
from kingyo.models.feature_store import Features, FeatureStore

CPU = torch.device("cpu")


def features(n: int, dtype: torch.dtype = torch.float32) -> Features:
    """Return features in all forms that models have, of about 1 kB."""
    noise = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(n)).to(dtype)
    return {"pooler_output": [noise[:3], noise[3:]], "deepstack_features": [[noise + 1], [noise + 2]]}


def flat(each: Features | None) -> list[torch.Tensor]:
    assert each is not None
    return [*each["pooler_output"], *(tensor for layer in each["deepstack_features"] for tensor in layer)]


def assert_same(kept: Features | None, computed: Features) -> None:
    for mine, its in zip(flat(kept), flat(computed), strict=True):
        assert mine.dtype == its.dtype and mine.shape == its.shape
        assert mine.contiguous().view(-1).view(torch.uint8).equal(its.contiguous().view(-1).view(torch.uint8))


def filled(folder: Path | None, n: int = 20, dtype: torch.dtype = torch.float32) -> FeatureStore:
    store = FeatureStore(folder, CPU)
    for i in range(n):
        store.put((str(i),), features(i, dtype))
    return store


def kept(store: FeatureStore, n: int = 20) -> list[int]:
    return [i for i in range(n) if store.get((str(i),)) is not None]


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "KEPT_BYTES", 3000)


@pytest.mark.parametrize("segment", [1, 5000, 1 << 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_come_back_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(feature_file, "SEGMENT_BYTES", segment)
    store = FeatureStore(tmp_path, CPU)
    for i in range(20):
        store.put((str(i),), features(i, dtype))
        assert_same(store.get((str(i),)), features(i, dtype))
    for i in range(20):
        assert_same(store.get((str(i),)), features(i, dtype))
    assert 0 < store.n_bytes <= 3000 < store.n_file_bytes
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_only_memory_is_used() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = filled(None)
    assert kept(store) == [0, 1]
    assert store.n_file_bytes == 0


def test_one_warning_after_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_file, "FILE_BYTES", 8000)
    with pytest.warns(UserWarning, match="do not fit") as messages:
        store = filled(tmp_path)
        store.clear()
        for i in range(20):
            store.put((str(i),), features(i))
    assert len(messages) == 1
    assert store.n_file_bytes <= 8000
    n = len(kept(store))
    assert 2 < n < 20 and kept(store) == list(range(n))


def test_half_of_the_free_disk_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([20_000, *range(20_000, 0, -2000)])
    for module in (feature_file, feature_store):
        monkeypatch.setattr(module, "free_bytes", lambda _: next(sizes))
    with pytest.warns(UserWarning, match="half of the disk space"):
        store = filled(tmp_path)
    assert kept(store) == [0, 1, *range(2, 7)]


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_loses_no_features(tmp_path: Path) -> None:
    with full_disk(7000), pytest.warns(UserWarning, match="File too large"):
        store = filled(tmp_path)
    n = len(kept(store))
    assert 2 < n < 20
    for i in range(n):
        assert_same(store.get((str(i),)), features(i))
    assert store._file is not None
    assert os.fstat(store._file._file).st_size == store.n_file_bytes, "what did not fit takes no space"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="No such file"):
        store = filled(tmp_path / "none")
    assert kept(store) == [0, 1]


def test_features_in_use_outlive_the_file(tmp_path: Path) -> None:
    store = filled(tmp_path)
    in_use = store.get(("19",))
    store.clear()
    assert kept(store) == [] and store.n_file_bytes == store.n_bytes == 0
    for i in range(20):
        store.put((str(i),), features(100 + i))
    assert_same(in_use, features(19))
    assert_same(store.get(("19",)), features(119))


def test_mappings_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(feature_file.mmap, "mmap", refused)
    assert kept(filled(tmp_path)) == [0, 1]


def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, torch; from pathlib import Path; from kingyo.models import feature_store as store\n"
        "store.KEPT_BYTES = 0; kept = store.FeatureStore(Path('.'), torch.device('cpu'))\n"
        "kept.put(('a',), {'pooler_output': torch.ones(9999)}); assert kept.n_file_bytes\n"
        "assert kept.get(('a',)) is not None; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []

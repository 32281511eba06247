"""The cache of statistics: within its bound, in memory and in a file that may be damaged."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.kernels.statistics_cache import PASSING, TensorStats, memory_size


def read_fact(stats: TensorStats, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    fact = stats.get(name)
    assert fact is not None
    return fact


KINDS = (np.float64, np.int64, np.int32, np.uint32, np.uint16)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=40), st.integers(0, 800))
def test_it_keeps_its_bound(writes: list[tuple[int, int]], limit: int) -> None:
    stats = TensorStats(limit)
    for name, length in writes:
        stats.put(str(name), np.full(length, name, dtype=np.float64))
        kept = [stored for each in range(10) if (stored := stats.get(str(each))) is not None]
        assert stats.n_bytes == sum(fact.nbytes for fact in kept) <= limit
        assert stats.has_room(limit // 4) or stats.n_bytes > limit // 2
    for name in range(10):
        stored = stats.get(str(name))
        assert stored is None or set(stored.tolist()) <= {float(name)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 4)])
def test_stored_facts_are_found_by_another_process(
    tmp_path: Path, kind: type, shape: tuple[int, ...]
) -> None:
    stats = TensorStats(file=tmp_path / "facts.sqlite")
    fact = np.arange(np.prod(shape)).astype(kind).reshape(shape)
    stats.put("a\nb", fact)
    stats.put(f"{PASSING}limit", fact)
    stats.flush()
    reader = TensorStats(file=tmp_path / "facts.sqlite")
    assert read_fact(reader, "a\nb").dtype == fact.dtype and np.array_equal(read_fact(reader, "a\nb"), fact)
    assert reader.get(f"{PASSING}limit") is None and reader.get("other") is None


def test_large_facts_stay_in_memory(tmp_path: Path) -> None:
    stats = TensorStats(file=tmp_path / "facts.sqlite")
    stats.put("ranks", np.zeros(1 << 20, dtype=np.int32))
    stats.flush()
    assert stats.get("ranks") is not None
    assert TensorStats(file=tmp_path / "facts.sqlite").get("ranks") is None


@pytest.mark.parametrize("content", [b"no database at all, but text", b""])
def test_a_damaged_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "facts.sqlite"
    file.write_bytes(content)
    stats = TensorStats(file=file)
    stats.put("a", np.ones(3))
    stats.flush()
    assert np.array_equal(read_fact(stats, "a"), np.ones(3))


def test_damaged_rows_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "facts.sqlite"
    stats = TensorStats(file=file)
    stats.put("a", np.ones(3))
    stats.put("b", np.ones(3))
    stats.flush()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE facts SET data = ? WHERE name = 'a'", (b"short",))
        database.execute("UPDATE facts SET dtype = 'nonsense' WHERE name = 'b'")
    reader = TensorStats(file=file)
    assert reader.get("a") is None and reader.get("b") is None


def test_a_flipped_bit_is_detected(tmp_path: Path) -> None:
    stats = TensorStats(file=tmp_path / "written.sqlite")
    for name in ("a", "b"):
        stats.put(name, np.arange(500, dtype=np.float64))
    stats.flush()
    content, dice = (tmp_path / "written.sqlite").read_bytes(), random.Random(0)
    for _ in range(200):
        flipped = bytearray(content)
        flipped[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        (tmp_path / "flipped.sqlite").write_bytes(flipped)
        reader = TensorStats(file=tmp_path / "flipped.sqlite")
        for name in ("a", "b"):
            fact = reader.get(name)
            assert fact is None or np.array_equal(fact, np.arange(500, dtype=np.float64))


def test_statistics_of_an_older_version_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "facts.sqlite"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE fact (name TEXT PRIMARY KEY, dtype TEXT, shape TEXT, data BLOB)")
        database.execute("INSERT INTO fact VALUES ('a', '<f8', '1', ?)", (b"12345678",))
    assert TensorStats(file=file).get("a") is None


def test_a_missing_folder_is_ignored(tmp_path: Path) -> None:
    stats = TensorStats(file=tmp_path / "gone" / "facts.sqlite")
    stats.put("a", np.ones(3))
    stats.flush()
    assert np.array_equal(read_fact(stats, "a"), np.ones(3))


def test_a_container_may_have_less_than_the_machine(tmp_path: Path) -> None:
    machine_memory = memory_size([])
    assert machine_memory > 1 << 28
    for content, expected in (
        ("max\n", machine_memory),
        ("1048576\n", 1 << 20),
        (f"{2**63}\n", machine_memory),
    ):
        (tmp_path / "limit").write_text(content)
        assert memory_size([tmp_path / "absent", tmp_path / "limit"]) == expected

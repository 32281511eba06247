"""The database of measurements."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.store.side_databases import EVIDENCE, EvidenceStore


def test_measurements_are_read_as_they_were_stored(tmp_path: Path) -> None:
    with EvidenceStore(tmp_path / "a" / "b") as store:
        store.add("models", "layers.0", b"\x00\xff")
        store.add("models", "layers.0", b"later ones do not count")
        store.add("models", "a.weight", b"")
        store.add("others", "layers.0", b"1")
    with EvidenceStore(tmp_path / "a" / "b") as store:
        assert store.get("models", "layers.0") == b"\x00\xff" and store.get("others", "layers.0") == b"1"
        assert store.get("models", "layers.1") is None and store.get("none", "layers.0") is None
        assert store.tensors("models") == ("a.weight", "layers.0") and store.tensors("none") == ()


def test_several_processes_use_one_file(tmp_path: Path) -> None:
    def measure(models: str) -> None:
        with EvidenceStore(tmp_path) as store:
            for n in range(5):
                store.add(models, f"{n}", models.encode())

    with EvidenceStore(tmp_path):  # creates the tables
        pass
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(measure, "abcd"))
    with EvidenceStore(tmp_path) as store:
        assert {models: len(store.tensors(models)) for models in "abcd"} == dict.fromkeys("abcd", 5)


def test_measurements_that_another_program_changed_are_refused(tmp_path: Path) -> None:
    with EvidenceStore(tmp_path) as store:
        store.add("models", "layers.0", b"1")
    with sqlite3.connect(tmp_path / EVIDENCE) as connection:
        connection.execute("UPDATE sums_of_tensors SET content = ?", (b"2",))
    connection.close()
    with pytest.raises(KingyoError) as caught:
        EvidenceStore(tmp_path)
    assert caught.value.argument == str(tmp_path / EVIDENCE) and "sums_of_tensors" in caught.value.expected


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00 and nothing else" * 40])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / EVIDENCE).write_bytes(content)
    with pytest.raises(KingyoError) as caught:
        EvidenceStore(tmp_path)
    assert caught.value.argument == str(tmp_path / EVIDENCE) and "Delete the file" in caught.value.remedy


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KingyoError) as caught:
        EvidenceStore(tmp_path / "file")
    assert "--out" in caught.value.remedy


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / EVIDENCE).mkdir()
    with pytest.raises(KingyoError) as caught:
        EvidenceStore(tmp_path)
    assert caught.value.argument == str(tmp_path / EVIDENCE)

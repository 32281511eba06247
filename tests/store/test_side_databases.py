"""The databases of people's choices and of measurements."""

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.store.side_databases import (
    CHOICES,
    EVIDENCE,
    ChoiceLog,
    EvidenceStore,
    StoredChoice,
    Verdict,
    pair_name,
    read_choices,
)

ONE = StoredChoice(
    rater="ann",
    split="validation",
    item="v1",
    left_model="m1",
    right_model="m2",
    left_image="p1",
    right_image="p2",
    verdict="left",
    seconds=1.25,
)


def test_choices_are_read_as_they_were_stored(tmp_path: Path) -> None:
    assert read_choices(tmp_path) == () and not (tmp_path / CHOICES).exists()
    verdicts: tuple[Verdict, ...] = ("left", "right", "tie", "skip")
    stored = [replace(ONE, item=each, rater="Åsa 金", verdict=each) for each in verdicts]
    with ChoiceLog(tmp_path) as log:
        assert all(map(log.add, stored))
    with ChoiceLog(tmp_path) as log:
        assert list(log.choices()) == stored
    assert list(read_choices(tmp_path)) == stored


def test_a_pair_counts_once_for_each_person(tmp_path: Path) -> None:
    with ChoiceLog(tmp_path) as log:
        assert log.add(ONE)
        assert not log.add(replace(ONE, verdict="right"))
        turned = replace(ONE, left_image="p2", right_image="p1", left_model="m2", right_model="m1")
        assert not log.add(turned)
        assert log.add(replace(ONE, rater="bob"))
        assert [each.verdict for each in log.choices()] == ["left", "left"]
    assert pair_name("i", "p", "q") == pair_name("i", "q", "p") != pair_name("j", "p", "q")


def test_the_last_choice_of_a_person_can_be_undone(tmp_path: Path) -> None:
    with ChoiceLog(tmp_path) as log:
        log.add(ONE)
        log.add(replace(ONE, item="v2"))
        log.add(replace(ONE, rater="bob", item="v3"))
        assert log.undo("ann", "test") is None
        assert log.undo("ann", "validation") == replace(ONE, item="v2")
        assert [each.item for each in log.choices()] == ["v1", "v3"]
        assert log.undone("ann", replace(ONE, item="v2").pair) == 1 and log.undone("ann", ONE.pair) == 0
        assert log.add(replace(ONE, item="v2", verdict="tie"))
    assert [(each.item, each.verdict) for each in read_choices(tmp_path)] == [
        ("v1", "left"), ("v3", "left"), ("v2", "tie"),
    ]  # fmt: skip


def test_choices_of_a_later_version_are_refused(tmp_path: Path) -> None:
    with ChoiceLog(tmp_path):
        pass
    with sqlite3.connect(tmp_path / CHOICES) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(KingyoError) as error:
        read_choices(tmp_path)
    assert error.value.received == "version 2"


def test_an_empty_file_has_no_choices(tmp_path: Path) -> None:
    """As a kill before the first write leaves it."""
    (tmp_path / CHOICES).touch()
    assert read_choices(tmp_path) == ()
    with ChoiceLog(tmp_path) as log:
        assert log.add(ONE)


def test_choices_in_a_read_only_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with ChoiceLog(folder) as log:
        log.add(ONE)
    (folder / CHOICES).chmod(stat.S_IREAD)
    folder.chmod(stat.S_IREAD | stat.S_IEXEC)
    try:
        assert read_choices(folder) == (ONE,)
    finally:
        folder.chmod(stat.S_IRWXU)


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


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KingyoError) as caught:
        EvidenceStore(tmp_path / "file")
    assert "--out" in caught.value.remedy


# ---- both databases


def test_several_writers_use_one_file(tmp_path: Path) -> None:
    with EvidenceStore(tmp_path):  # creates the tables
        pass

    def write(name: str) -> None:
        with ChoiceLog(tmp_path) as log, EvidenceStore(tmp_path) as store:
            for n in range(5):
                assert log.add(replace(ONE, rater=name, item=f"v{n}"))
                store.add(name, f"{n}", name.encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert len(read_choices(tmp_path)) == 20
    with EvidenceStore(tmp_path) as store:
        assert {name: len(store.tensors(name)) for name in "abcd"} == dict.fromkeys("abcd", 5)


OPENINGS = [(read_choices, CHOICES), (ChoiceLog, CHOICES), (EvidenceStore, EVIDENCE)]


@pytest.mark.parametrize(("opened", "name"), OPENINGS)
def test_rows_that_another_program_changed_are_refused(
    tmp_path: Path, opened: Callable[[Path], object], name: str
) -> None:
    with ChoiceLog(tmp_path) as log, EvidenceStore(tmp_path) as store:
        log.add(ONE)
        store.add("models", "layers.0", b"1")
    change = "choices SET verdict = 'right'" if name == CHOICES else "sums_of_tensors SET content = 'x'"
    with closing(sqlite3.connect(tmp_path / name)) as connection, connection:
        connection.execute(f"UPDATE {change}")
    with pytest.raises(KingyoError) as error:
        opened(tmp_path)
    assert error.value.argument == str(tmp_path / name) and change.partition(" ")[0] in error.value.expected


@pytest.mark.parametrize("content", [b"no database" * 400, b"SQLite format 3\0" + bytes(4000), None])
@pytest.mark.parametrize(("opened", "name"), OPENINGS)
def test_a_damaged_file_or_a_folder_in_its_place_is_one_clear_error(
    tmp_path: Path, opened: Callable[[Path], object], name: str, content: bytes | None
) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(KingyoError) as error:
        opened(tmp_path)
    assert error.value.argument == str(tmp_path / name)
    assert content is not None or error.value.received == "a folder"

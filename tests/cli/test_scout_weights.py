"""`kingyo scout --weights` as its users call it: tables, JSON, the store, Ctrl-C."""

import json
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.conftest import World, stopped
from tests.scout.shelves import write_card


@pytest.fixture
def shelf(world: World) -> World:
    """Two models, a copy of one of them, and one with NaN."""
    for name, source in (("copy", "a"), ("nan", "b")):
        shutil.copytree(world.folder / source, world.folder / name)
    weights = world.folder / "nan" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"][0] = torch.nan
    save_file(tensors, weights, metadata={"format": "pt"})
    for name in ("a", "b", "copy", "nan"):
        write_card(world.folder / name, base="../base")
    return world


MODELS = ("a", "b", "copy", "nan")


def test_tables_of_the_weights(shelf: World) -> None:
    done = shelf.ok("scout", *MODELS, "--base", "base", "--weights", "--out", "found")
    assert done.stderr == "", done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    at = lines.index("Measured all weights against base.")
    table = [line for line in lines[at:] if line.startswith(("a –", "b –", "copy "))]
    assert len(table) == 3
    assert table[2].startswith("copy a re-upload of a a ") and table[2].split()[-2] == "1.000"
    assert lines[-1] == "nan is excluded: weights that are not finite: model.norm.weight"
    assert (shelf.folder / "found" / "evidence.db").is_file()


def test_json_of_the_weights(shelf: World) -> None:
    done = shelf.run("scout", *MODELS, "--base", "base", "--weights", "--json")
    assert done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    assert found["counts"] == {
        "candidates": 4,
        "mergeable": 3,
        "excluded": {"weights that are not finite": 1},
    }
    (group,) = found["groups"]
    assert [each["finding"] for each in group["structure"]["members"]] == [None, None, "a re-upload of a"]
    assert set(group["structure"]["members"][0]["layers"]) >= {"embedding", "block.0", "head"}
    pairs = [each["models"] for each in group["structure"]["pairs"]]
    assert pairs == [["a", "b"], ["a", "copy"], ["b", "copy"]]
    assert group["structure"]["measured_share"] == 1
    assert (shelf.folder / "runs" / "scout" / "evidence.db").is_file()


def test_a_damaged_store_is_an_error(shelf: World) -> None:
    (shelf.folder / "evidence.db").write_bytes(b"nothing")
    done = shelf.fails("scout", "a", "--base", "base", "--weights", "--out", ".")
    assert len(done.stderr.splitlines()) == 1
    assert "evidence.db" in done.stderr and "Delete the file" in done.stderr


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured(shelf: World) -> None:
    """Stop it when the first tensors are stored; the same command then measures the rest."""
    for i in range(120):
        shutil.copytree(shelf.folder / "a", shelf.folder / "many" / f"{i:03}", copy_function=os.link)
    where = ("scout", "many", "--base", "base", "--weights", "--out", "found")
    log = shelf.folder / "found" / "evidence.db-wal"
    code, errors = stopped(
        shelf.folder, *where, when=lambda: log.is_file() and log.stat().st_size > 500_000, sent=signal.SIGINT
    )
    assert code == 130 and "Traceback" not in errors, errors
    assert "Rerun the command to continue; found keeps what was measured." in " ".join(errors.split())
    done = shelf.ok(*where)
    assert "a re-upload of many/000" in done.stdout

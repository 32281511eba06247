"""`kingyo diff` as its users call it: tables, JSON, errors, Ctrl-C."""

import json
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from tests.cli.conftest import World, command
from tests.models_on_disk import llama


def test_two_models(world: World) -> None:
    done = world.ok("diff", "a", "b")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["A", "=", "a"] in lines
    assert ["layer", "parameters", "cosine", "equal"] in lines
    rows = {line[0] for line in lines if line}
    assert rows >= {"embedding", "attention", "mlp", "norm", "all", "0", "1", "2"}
    assert done.stderr == ""


def test_two_models_and_their_base(world: World) -> None:
    done = world.ok("diff", "a", "b", "--base", "base")
    assert "kind parameters ‖δA‖ ‖δB‖ cosine opposed" in " ".join(done.stdout.split())
    assert "By pair" not in done.stdout


def test_three_models_are_compared_pair_by_pair(world: World) -> None:
    llama(world.folder / "c", seed=5)
    done = world.ok("diff", "a", "b", "c", "--base", "base")
    assert [line.split()[0] for line in done.stdout.splitlines() if ", " in line[:6]] == ["A,", "A,", "B,"]


def test_standard_output_contains_only_json(world: World) -> None:
    done = world.run("diff", "a", "b", "--base", "base", "--json")
    summary = json.loads(done.stdout)
    assert summary["models"] == {"A": "a", "B": "b"}
    assert set(summary) == {"models", "base", "total", "kinds", "layers", "notes"}
    assert set(summary["layers"]) == {"embedding", "block.0", "block.1", "block.2", "head"}
    assert abs(summary["total"]["pairs"]["A-B"]["cosine"]) < 0.1
    assert summary["total"]["models"]["A"]["change"] > 0


def test_one_model_alone_is_an_error(world: World) -> None:
    world.fails(
        "diff", "a", says="models: expected two models or more, or one model and its base; received 1"
    )


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    """Two models of 1.6 billion zeros, which take no room on disk: half a minute to compare."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        entry = {"dtype": "BF16", "shape": [1600, 1_000_000], "data_offsets": [0, 3_200_000_000]}
        header = json.dumps({"weight": entry}).encode()
        with (tmp_path / name / "model.safetensors").open("wb") as stream:
            stream.write(struct.pack("<Q", len(header)) + header)
            stream.truncate(8 + len(header) + 3_200_000_000)
    with subprocess.Popen(
        command("diff", "a", "b"),
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        maps = Path(f"/proc/{process.pid}/maps")
        while "model.safetensors" not in maps.read_text():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (130, "", "Interrupted; nothing was written.\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]

"""Groups are measured once: what is stored is not read again, unless a model has changed."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.merging.checkpoints import Checkpoint, open_checkpoint
from kingyo.scout.measuring import choose_tensors, measure_group
from kingyo.scout.structure import Structure
from kingyo.store.side_databases import EVIDENCE, EvidenceStore
from tests.scout.weights import SHAPES, group, moved, noise, reads, watched, write, write_lora
from tests.slow import slow

ALL = 1 << 40
LAYERS = ["embedding", "block.0", "block.1", "block.2", "head"]


def measure(
    folder: Path, base: Checkpoint, members: Sequence[Checkpoint], limit: int = ALL
) -> tuple[Structure | None, Mapping[str, str]]:
    with EvidenceStore(folder) as store:
        return measure_group(base, members, store, limit)


def structure(folder: Path, base: Checkpoint, members: Sequence[Checkpoint]) -> Structure:
    found, _ = measure(folder, base, members)
    assert found is not None
    return found


def rows(folder: Path) -> dict[tuple[str, str], bytes]:
    with sqlite3.connect(folder / EVIDENCE) as connection:
        found = connection.execute("SELECT models, tensor, content FROM sums_of_tensors").fetchall()
    connection.close()
    return {(models, tensor): content for models, tensor, content in found}


def test_a_group_by_hand(tmp_path: Path) -> None:
    base, members = group(tmp_path)
    found = structure(tmp_path / "out", base, members[::-1])
    assert [each.reference for each in found.members] == [each.reference for each in members]
    deltas = [torch.cat([(m.read(n) - base.read(n)).flatten() for n in SHAPES]).double() for m in members]
    size = torch.cat([base.read(name).flatten() for name in SHAPES]).double().norm()
    for i, one in enumerate(deltas):
        assert found.members[i].norm == pytest.approx(float(one.norm()))
        assert found.members[i].change == pytest.approx(float(one.norm() / size))
        for j, other in enumerate(deltas):
            assert found.cosines[i, j] == pytest.approx(float(one @ other / one.norm() / other.norm()))
            assert found.conflicts[i, j] == pytest.approx(float((one * other < 0).double().mean()))
    assert list(found.members[0].layers) == LAYERS
    in_block = [name for name in SHAPES if "layers.1" in name]
    part = sum(float((members[0].read(n) - base.read(n)).double().square().sum()) for n in in_block)
    assert found.members[0].layers["block.1"] == pytest.approx(part / float(deltas[0].square().sum()))
    assert found.measured_share == 1


def test_copies_and_the_base_itself(tmp_path: Path) -> None:
    base, members = group(tmp_path, 4)
    shutil.copytree(tmp_path / "m1", tmp_path / "n-copy")
    shutil.copytree(tmp_path / "base", tmp_path / "n-same")
    near = write(tmp_path / "n-near", moved(noise(0), moved(noise(1), noise(9), 0.05), 0.1))
    more = [near, *(open_checkpoint(str(tmp_path / name)) for name in ("n-copy", "n-same"))]
    found = structure(tmp_path / "out", base, [*members, *more])
    said = {Path(each.reference).name: each.finding for each in found.members}
    assert {name: each for name, each in said.items() if each} == {
        "n-copy": f"a re-upload of {tmp_path / 'm1'}",
        "n-near": f"a near-duplicate of {tmp_path / 'm0'}",
        "n-same": "equal to the base",
    }


def test_integers_and_tensors_that_others_lack_are_skipped(tmp_path: Path) -> None:
    base, members = group(tmp_path)
    steps = {"model.steps": torch.arange(4)}
    members = [write(tmp_path / "i", moved(noise(0), noise(5)) | steps) for _ in members[:1]]
    base = write(tmp_path / "base-i", noise(0) | steps)
    found = structure(tmp_path / "out", base, members)
    assert found.n_measured == found.n_parameters == sum(t.numel() for t in noise(0).values())


def test_a_second_time_nothing_is_read(tmp_path: Path) -> None:
    base, members = group(tmp_path)
    log = tmp_path / "reads.txt"
    opened = [watched(each, log) for each in members]
    first = structure(tmp_path / "out", watched(base, log), opened)
    assert Counter(reads(log)) == Counter(f"{m.reference} {n}" for m in (base, *members) for n in SHAPES)
    log.unlink()
    again = [watched(open_checkpoint(each.reference), log) for each in members]
    second = structure(tmp_path / "out", watched(open_checkpoint(base.reference), log), again)
    assert reads(log) == [] and second.to_json() == first.to_json()


def test_other_members_another_base_and_a_changed_model_are_measured_anew(tmp_path: Path) -> None:
    base, members = group(tmp_path)
    first = structure(tmp_path / "out", base, members)
    log = tmp_path / "reads.txt"
    assert structure(tmp_path / "out", watched(base, log), members[:2]).cosines.shape == (2, 2)
    assert len(reads(log)) == len(SHAPES)
    structure(tmp_path / "out", watched(members[0], log), members[1:])
    assert len(reads(log)) == 2 * len(SHAPES)
    changed = [write(tmp_path / "m0", moved(noise(0), noise(8), 0.3)), *members[1:]]
    now = structure(tmp_path / "out", watched(base, log), changed)
    assert len(reads(log)) == 3 * len(SHAPES)
    assert now.members[0].norm > 2 * first.members[0].norm and now.members[1] == first.members[1]
    assert len(rows(tmp_path / "out")) == 4 * len(SHAPES)


@pytest.mark.parametrize("factor", [1.0, float("nan")])
def test_a_model_that_changes_while_it_is_read_is_an_error_and_stores_nothing(
    tmp_path: Path, factor: float
) -> None:
    """It is not called broken either."""
    base, members = group(tmp_path)
    write(tmp_path / "m1", {name: factor * each for name, each in noise(8).items()})
    with pytest.raises(ChangedSourceError) as caught:
        measure(tmp_path / "out", base, members)
    assert caught.value.argument == members[1].reference
    assert rows(tmp_path / "out") == {}
    write(tmp_path / "m1", noise(2))
    again = open_checkpoint(members[1].reference)
    assert measure(tmp_path / "out", base, [members[0], again, members[2]])[1] == {}


def test_a_model_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    base, members = group(tmp_path, 4)
    broken = moved(noise(0), noise(2), 0.1)
    broken["model.layers.2.mlp.up_proj.weight"][3, 4] = float("nan")
    members[1] = write(tmp_path / "m1", broken)
    found, not_finite = measure(tmp_path / "out", base, members)
    assert not_finite == {members[1].reference: "model.layers.2.mlp.up_proj.weight"}
    assert found is not None
    want = structure(tmp_path / "other", base, [members[0], *members[2:]])
    assert [each.reference for each in found.members] == [each.reference for each in want.members]
    np.testing.assert_allclose(found.cosines, want.cosines)
    log = tmp_path / "reads.txt"
    _, again = measure(tmp_path / "out", base, [watched(members[0], log), *members[1:]])
    assert len(reads(log)) == 1 and again == not_finite, "only the tensor with NaN is read again"


def test_a_base_that_is_not_finite_leaves_no_member(tmp_path: Path) -> None:
    _, members = group(tmp_path)
    base = write(tmp_path / "base", {name: each * float("inf") for name, each in noise(0).items()})
    found, not_finite = measure(tmp_path / "out", base, members)
    assert found is None
    assert not_finite == {m.reference: "model.embed_tokens.weight of the base" for m in members}


def test_a_limit_of_bytes_is_kept_and_a_higher_one_reads_only_the_rest(tmp_path: Path) -> None:
    base, members = group(tmp_path)
    sizes = {name: 4 * 4 * tensor.numel() for name, tensor in noise(0).items()}
    limit = sum(sizes.values()) // 2
    part, _ = measure(tmp_path / "out", base, members, limit)
    measured = {tensor for _, tensor in rows(tmp_path / "out")}
    assert part is not None and sum(sizes[name] for name in measured) <= limit
    assert part.measured_share == sum(sizes[n] for n in measured) / sum(sizes.values())
    assert {*part.members[0].layers} <= {*LAYERS}
    log = tmp_path / "reads.txt"
    structure(tmp_path / "out", watched(base, log), members)
    assert {line.split()[1] for line in reads(log)} == set(SHAPES) - measured
    with pytest.raises(KingyoError) as caught:
        measure(tmp_path / "out", base, members, 10)
    assert caught.value.argument == "--max-bytes"


def test_members_with_a_lora(tmp_path: Path) -> None:
    base, _ = group(tmp_path, 0)
    name = "model.layers.1.self_attn.q_proj"
    a, b = (torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in ((2, 12), (12, 2)))
    write_lora(tmp_path / "lora", name, a, b)
    merged = noise(0)
    merged[f"{name}.weight"] += b @ a
    whole = write(tmp_path / "merged", merged)
    adapted = open_checkpoint(f"{base.reference}+{tmp_path / 'lora'}")
    found = structure(tmp_path / "out", base, [adapted, whole])
    assert found.cosines[0, 1] == pytest.approx(1)
    assert found.members[0].norm == pytest.approx(float((b @ a).norm()), rel=1e-5)
    assert found.members[0].layers["block.1"] == 1 and adapted.reference in str(found.members[1].finding)


MEASURES = """
import sys
from pathlib import Path
from tests.scout.test_measuring import ALL, EvidenceStore, measure_group, open_checkpoint, watched

folder, log, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
names = [*sorted(folder.glob("m?")), folder / "base"]
*members, base = (watched(open_checkpoint(str(name)), log, kill_at) for name in names)
with EvidenceStore(folder / "out") as store:
    measure_group(base, members, store, ALL)
"""


def dying(folder: Path, log: Path, kill_at: int) -> list[str]:
    """Return a command that measures the models of a folder, and ends at the read of this number, if any."""
    return [sys.executable, "-c", MEASURES, str(folder), str(log), str(kill_at)]


@pytest.mark.parametrize("kill_at", [1, 17, *slow(6, 40)])
def test_a_killed_process_is_continued_and_nothing_stored_is_read_again(tmp_path: Path, kill_at: int) -> None:
    base, members = group(tmp_path)
    done = subprocess.run(dying(tmp_path, tmp_path / "reads.txt", kill_at), check=False)
    assert done.returncode == -signal.SIGKILL
    before = rows(tmp_path / "out")
    assert len(before) == kill_at // 4, "four models are read for each tensor"
    check_continued(tmp_path, base, members, before)


def test_a_process_may_be_killed_at_any_moment(tmp_path: Path) -> None:
    base, members = group(tmp_path)
    with subprocess.Popen(dying(tmp_path, Path("/dev/stdout"), 0), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(9)]
        child.kill()
    assert all(lines)
    check_continued(tmp_path, base, members, rows(tmp_path / "out"))


def check_continued(
    folder: Path, base: Checkpoint, members: Sequence[Checkpoint], before: dict[tuple[str, str], bytes]
) -> None:
    log = folder / "again.txt"
    found = structure(folder / "out", watched(base, log), members)
    stored = {tensor for _, tensor in before}
    assert Counter(line.split()[1] for line in reads(log)) == Counter(set(SHAPES) - stored)
    after = rows(folder / "out")
    assert before.items() <= after.items()
    want = structure(folder / "other", base, members)
    assert after.keys() == rows(folder / "other").keys()
    for key, content in rows(folder / "other").items():
        np.testing.assert_allclose(np.frombuffer(after[key]), np.frombuffer(content), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.cosines, want.cosines, rtol=1e-9)


def test_tensors_are_chosen_within_a_limit_of_bytes() -> None:
    groups = {f"block.{i}": [f"{i}.{kind}" for kind in "abcd"] for i in range(32)}
    sizes = {name: 10 + i for i, name in enumerate(name for names in groups.values() for name in names)}
    whole = sum(sizes.values())
    everything = choose_tensors(groups, sizes, whole)
    assert list(everything) == list(sizes) and everything["3.c"] == "block.3"
    half = choose_tensors(groups, sizes, whole // 2)
    assert 0.9 < sum(sizes[name] for name in half) / (whole / 2) <= 1 and len({*half.values()}) > 25
    assert choose_tensors(groups, sizes, 9) == {}
    assert choose_tensors({"a": ["x", "y"]}, {"x": 1}, 5) == {"x": "a"}, "y cannot be measured"

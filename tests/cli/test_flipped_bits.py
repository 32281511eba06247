"""Random flipped bits in files of real runs: every one is detected or harmless."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.store import DATABASE, RunStore
from kingyo.views.advice import advise
from kingyo.views.results.summary import summarize
from tests.cli.conftest import World, interrupted

FILES = (DATABASE, f"{DATABASE}-wal", "run.lock")


def shown(run: Path) -> str:
    """What `kingyo show --json` prints of a run."""
    with RunStore.read(run) as store:
        summary = summarize(store)
        return json.dumps({**summary.to_json(), "advice": [vars(each) for each in advise(store, summary)]})


def copied(run: Path, to: Path) -> Path:
    """Copy a run's files including the log; opening a run would merge the log into its database."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for name in FILES:
        if (run / name).exists():
            shutil.copy(run / name, to)
    return to


def flipped(run: Path, dice: random.Random) -> str:
    """Flip one bit in one of a run's files, the larger ones the more often; return the file's name."""
    sizes = {name: (run / name).stat().st_size for name in FILES if (run / name).exists()}
    (name,) = dice.choices(list(sizes), [*sizes.values()])
    content = bytearray((run / name).read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    (run / name).write_bytes(content)
    return name


def outcomes(runs: Sequence[Path], flips: int, place: Path) -> Counter[tuple[str, str]]:
    """Flip bits one at a time; count outcomes by file.

    A run that is refused and one whose lost writes are named are noticed; "silent" must be none.
    """
    dice, counts = random.Random(20261125), Counter[tuple[str, str]]()
    expected = {run: shown(copied(run, place / run.name)) for run in runs}
    for n in range(flips):
        run = runs[n % len(runs)]
        copy = copied(run, place / run.name)
        name = flipped(copy, dice)
        try:
            now = shown(copy)
        except KingyoError:
            counts[name, "refused"] += 1
            continue
        is_named = any(each["kind"] == "lost" for each in json.loads(now)["advice"])
        counts[name, "unchanged" if now == expected[run] else "named" if is_named else "silent"] += 1
    return counts


def killed(world: World, after: int, *arguments: str | Path) -> Path:
    """Return the files, including the log, of a run that was killed after some evaluations."""
    interrupted(world, *(arguments or ("evolve", "run.yaml")), after=after)
    run = world.folder / "runs" / "small"
    assert (run / f"{DATABASE}-wal").stat().st_size > 0
    return run


def test_forty_flipped_bits_change_nothing_unnoticed(finished: World, world: World, tmp_path: Path) -> None:
    runs = [finished.folder / "runs" / "small", killed(world, 20).rename(tmp_path / "killed")]
    counts = outcomes(runs, 40, tmp_path / "copies")
    assert not [key for key in counts if key[1] == "silent"], counts
    assert {what for _, what in counts} == {"refused", "named", "unchanged"}


@pytest.mark.parametrize("command", ["report", "resume"])
def test_each_command_refuses_a_flipped_answer(finished: World, world: World, command: str) -> None:
    run = copied(finished.folder / "runs" / "small", world.folder / "run")
    content = bytearray((run / DATABASE).read_bytes())
    with RunStore.read(run) as store:
        kept = store.evaluation(1, "fit")
        assert kept is not None
        at = content.rindex(kept.scores[0].answer.encode())
    content[at] ^= 1
    (run / DATABASE).write_bytes(content)
    done = world.fails(command, "run")
    assert "(table " in done.stdout + done.stderr
    assert (run / DATABASE).read_bytes() == content and not (world.folder / "out").exists()

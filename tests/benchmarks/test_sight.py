"""The benchmark of looking: the right pictures, those of other items, and grey ones."""

import os
import re
import subprocess
import sys
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
import yaml

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from PIL import Image as Pillow
from sight import exchanged, grey

from kingyo.core.types import Item, Media
from tests.tasks.pictures import picture

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (.+) \| (\d+\.\d) \[.*\] \| (\d+)(?: items of \d+ \w+)? \|$", re.MULTILINE)


def item(number: int, n_images: int) -> Item:
    contents = [picture(10 * number + i, size=(9, 7)) for i in range(n_images)]
    media = tuple(Media(sha256=sha256(each).hexdigest(), type="image/png", content=each) for each in contents)
    return Item(id=str(number), prompt="?", answer="a", media=media)


def test_each_item_gets_the_pictures_of_another_one() -> None:
    items = [item(number, 1 + number % 2) for number in range(12)]
    other = exchanged(items, seed=0)
    assert [each.id for each in other] == [each.id for each in items]
    assert all(one.media != two.media for one, two in zip(items, other, strict=True))
    assert [len(each.media) for each in other] == [len(each.media) for each in items]
    assert {each.media for each in other} == {each.media for each in items}
    assert exchanged(items, seed=0) == other != exchanged(items, seed=1)


def test_grey_pictures_have_the_size_and_no_content() -> None:
    first, second = (grey(each) for each in (item(1, 1).media[0], item(2, 1).media[0]))
    assert first == second
    with Pillow.open(BytesIO(first.read())) as opened:
        assert opened.size == (9, 7)
        assert opened.convert("L").getextrema() == (128, 128)


def scores(*arguments: object) -> dict[str, tuple[float, int]]:
    """Return the rows of the table: score in % and number of items."""
    words = [sys.executable, str(ROOT / "benchmarks" / "sight.py"), *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return {name: (float(right), int(n)) for name, right, n in ROW.findall(done.stdout)}


@pytest.mark.slow
def test_a_model_that_sees_needs_its_pictures(tmp_path: Path) -> None:
    """In English, the language of `see-en`."""
    task = yaml.safe_load((ROOT / "examples" / "sight" / "run.yaml").read_text())["task"]
    data = str(ROOT / "zoo" / "sight" / "tasks" / "questions-en.jsonl")
    (tmp_path / "task.yaml").write_text(yaml.safe_dump({**task, "data": data}))
    table = scores(ROOT / "zoo" / "sight" / "see-en", "--task", tmp_path / "task.yaml", "--items", "60")
    assert {name: n for name, (_, n) in table.items()} == dict.fromkeys(
        ("its pictures", "pictures of other items", "grey pictures"), 60
    )
    assert table["its pictures"][0] >= 80
    assert max(table["pictures of other items"][0], table["grey pictures"][0]) <= 30

"""The task that asks for pictures: prompts and seeds, and a weighted mix of graders."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from kingyo.core.types import Drawing, DrawingPrompt, Item, Media
from kingyo.errors import KingyoError
from kingyo.tasks import Sizes, build_task, load_items, make_splits, near_groups, parse_task_spec
from kingyo.tasks.graders import build_graders
from kingyo.tasks.splits import group_labels
from tests.tasks.pictures import media, picture
from tests.tiny_judges import judge

GRADER = """
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Bright:
    scale: float = 1.0

    def __call__(self, pictures, items):
        return [self.scale * each.read()[0] / 255 for each in pictures]
"""


@dataclass
class Fake:
    """Draws a picture of one byte, which depends on the seed, and keeps what it was asked."""

    asked: Drawing | None = None

    def draw(self, prompts: Sequence[DrawingPrompt], drawing: Drawing) -> list[Media]:
        self.asked = drawing
        return [media(bytes([each.seed % 256])) for each in prompts]


def task_in(folder: Path, rows: Sequence[dict], **options):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mine.py").write_text(GRADER)
    keys = {"kind": "draw", "data": "rows.jsonl", "grader": "mine.py:Bright", **options}
    spec = parse_task_spec(keys)
    items = load_items(spec, folder).items
    return build_task(spec, {"fit": items, "validation": (), "test": ()}, folder)


ROWS = [{"prompt": "a cat", "seed": 51}, {"prompt": "a cat", "seed": 102}, {"prompt": "a dog", "seed": 51}]


def test_an_item_is_a_prompt_and_a_seed(tmp_path: Path) -> None:
    task = task_in(tmp_path, ROWS, seed="seed", steps=4, guidance_scale=0)
    items = task.items("fit")
    assert [(each.prompt, each.seed) for each in items] == [("a cat", 51), ("a cat", 102), ("a dog", 51)]
    assert len({each.id for each in items}) == 3
    model = Fake()
    scores = task.score(model, items)
    assert [each.score for each in scores] == [0.2, 0.4, 0.2]
    assert [each.media.read()[0] for each in scores] == [51, 102, 51]
    assert model.asked == Drawing(steps=4, guidance_scale=0.0)


def test_seeds_are_derived_from_the_prompt_and_differ(tmp_path: Path) -> None:
    rows = [{"prompt": "a cat"}, {"prompt": "a dog"}]
    items = task_in(tmp_path, rows, seeds=3).items("fit")
    again = task_in(tmp_path, rows[::-1], seeds=3).items("fit")
    assert {each.id: each.seed for each in items} == {each.id: each.seed for each in again}
    assert len({each.seed for each in items}) == len(items) == 6
    assert [items[n].seed - items[0].seed for n in range(3)] == [0, 1, 2]
    assert items[1].fields["seed"] == str(items[1].seed)


def test_pictures_of_a_prompt_stay_in_one_split(tmp_path: Path) -> None:
    rows = [{"prompt": f"a cat in room {n}"} for n in range(20)]
    items = task_in(tmp_path, rows, seeds=4).items("fit")
    splits = make_splits(items, Sizes(fit=40, validation=20, test=20))
    where = {(split, each.prompt) for split, own in splits.items() for each in own}
    assert len(where) == len(rows)
    labels = group_labels(near_groups(items))
    assert len({(labels[each.id], each.prompt) for each in items}) == len(rows)
    assert all(label.startswith("prompt ") for label in labels.values())


@pytest.mark.parametrize("seed", [-1, 1.5, "", "ten", 2**32, None])
def test_a_wrong_seed_names_its_row(tmp_path: Path, seed: object) -> None:
    with pytest.raises(KingyoError) as caught:
        task_in(tmp_path, [ROWS[0], {"prompt": "a dog", "seed": seed}], seed="seed")
    assert caught.value.argument == "rows.jsonl line 2: seed"


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"steps": 0}, "steps"),
        ({"stepz": 3}, "stepz"),
        ({"guidance_scale": -1}, "guidance_scale"),
        ({"height": 4}, "height"),
        ({"height": 64}, "height and width"),
        ({"seeds": 0}, "seeds"),
        ({"weights": [1, 2]}, "as many weights as graders"),
        ({"weights": [0]}, "weights"),
        ({"grader": []}, "grader"),
        ({"grader": "briht"}, "briht"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options, argument: str) -> None:
    with pytest.raises(KingyoError, match=argument):
        task_in(tmp_path, ROWS, **options)


def test_several_graders_multiply_or_have_weights(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GRADER)
    specs = [("mine.py:Bright", None), ("mine.py:Bright", 0.5)]
    pictures = Fake().draw([DrawingPrompt("a cat", 102)], Drawing())
    items = [Item(id="cat", prompt="a cat", answer="")]
    assert build_graders(specs, tmp_path, "images").grade(pictures, items) == [pytest.approx(0.4 * 0.2)]
    mean = (3 * 0.4 + 1 * 0.2) / 4
    assert build_graders(specs, tmp_path, "images", weights=[3, 1]).grade(pictures, items) == [
        pytest.approx(mean)
    ]


def test_the_classifier_finds_the_class_of_an_item(tmp_path: Path) -> None:
    judge(tmp_path / "judge", ["cat", "dog", "none"])
    pictures = [media(picture(40 * n)) for n in range(6)]
    items = {
        label: [Item(id=f"{n}", prompt="", answer="", fields={"motif": label}) for n in range(6)]
        for label in ("cat", "dog", "none", "0")
    }
    option = {"model": "judge", "label": "motif"}
    hard = build_graders([("classifier", option)], tmp_path, "images")
    soft = build_graders([("classifier", {**option, "soft": True})], tmp_path, "images")
    hits = [hard.grade(pictures, items[label]) for label in ("cat", "dog", "none")]
    chances = [soft.grade(pictures, items[label]) for label in ("cat", "dog", "none")]
    for n in range(6):
        assert sum(each[n] for each in hits) == 1
        assert sum(each[n] for each in chances) == pytest.approx(1, abs=1e-6)
        column = [each[n] for each in chances]
        assert [each[n] for each in hits].index(1) == column.index(max(column))
    assert hard.grade(pictures, items["0"]) == hits[0]


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ({"model": "no-judge"}, "grader.classifier"),
        ({"model": "judge", "label": "motiv"}, "grader.classifier: label"),
        ({"model": "judge", "label": "other"}, "item a: other"),
        ({"model": "empty"}, "empty"),
    ],
)
def test_a_classifier_that_does_not_fit_is_found_before_a_run(tmp_path: Path, option, argument: str) -> None:
    judge(tmp_path / "judge", ["cat", "dog"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(KingyoError) as caught:
        mix = build_graders([("classifier", option)], tmp_path, "images")
        mix.check([Item(id="a", prompt="", answer="", fields={"motif": "cat", "other": "bird"})])
    assert argument in caught.value.argument


def test_a_wrong_class_names_its_row_and_few_classes(tmp_path: Path) -> None:
    judge(tmp_path / "judge", [f"bird number {n}" for n in range(8)])
    rows = [{"prompt": "bird number 1", "motif": "bird number 1"}, {"prompt": "水", "motif": "cat"}]
    with pytest.raises(KingyoError) as caught:
        task_in(tmp_path, rows, grader={"classifier": {"model": "judge", "label": "motif"}})
    assert (caught.value.argument, caught.value.received) == ("rows.jsonl line 2: motif", "'cat'")
    assert (
        caught.value.remedy
        == "Known: bird number 0, bird number 1, bird number 2, bird number 3, bird number 4 and 3 more."
    )

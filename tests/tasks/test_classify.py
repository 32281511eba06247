"""Image classification: labels, classes, scores and macro F1, with a fake model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kingyo.core.types import SPLITS, Item, ItemScore, Media, Split, Task
from kingyo.errors import KingyoError
from kingyo.tasks import build_tasks, load_splits, parse_task_spec
from kingyo.tasks.classify import ClassifySettings, ClassifyTask, MacroF1
from kingyo.testing.tasks import TaskContract
from tests.tasks.pictures import media, picture

CLASSES = ("cat", "dog", "fish")


class Model:
    """Rates one class highest for every image, then the following classes."""

    def __init__(self, best: int = 0, classes: Sequence[str] = CLASSES) -> None:
        self.classes = classes
        self._best = best

    def rate_classes(self, images: Sequence[Media]) -> list[list[float]]:
        return [[-float((place - self._best) % 3) for place in range(3)] for _ in images]


def album(folder: Path, labels: Sequence[object] = CLASSES, **options: object) -> Task:
    rows: list[dict[str, object]] = []
    for n in range(12):
        (folder / f"{n}.png").write_bytes(picture(n))
        rows.append({"image": f"{n}.png", "label": labels[n % len(labels)]})
    (folder / "album.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = parse_task_spec({"name": "album", "kind": "classify", "data": "album.jsonl", **options})
    return build_tasks({"album": spec}, load_splits({"album": spec}, folder).splits, folder)


def every(task: Task) -> list[Item]:
    return [item for split in SPLITS for item in task.items(split)]


class TestClassify(TaskContract):
    def make(self, splits: Mapping[Split, Sequence[Item]]) -> Task:
        return ClassifyTask("album", ClassifySettings(), splits, Path())

    def make_items(self, split: Split) -> Sequence[Item]:
        first = 10 * SPLITS.index(split)
        return tuple(
            Item(id=f"{split}-{n}", prompt="", answer=CLASSES[n], media=(media(picture(first + n)),))
            for n in range(3)
        )

    def make_model(self) -> object:
        return Model()


@pytest.mark.parametrize("labels", [CLASSES, (0, 1, 2), ("0", "1", "2")])
def test_the_likeliest_class_is_right_if_it_is_the_label(tmp_path: Path, labels: Sequence[object]) -> None:
    task = album(tmp_path, labels)
    scores = task.score(Model(best=1), every(task))
    assert sum(each.score for each in scores) == 4
    assert {each.answer for each in scores} == {str(labels[1])}


@pytest.mark.parametrize(
    ("known", "labels", "options", "message"),
    [
        (CLASSES, ("cta", "dog"), {}, "label of item .* 3 classes.*Did you mean 'cat'"),
        (CLASSES, (7,), {}, "label of item .* 3 classes.* received '7'"),
        (CLASSES, CLASSES, {"classes": ["cat", "bird"]}, "task album: classes: .* received 'bird'"),
        (CLASSES, CLASSES, {"classes": ["cat", "dog"]}, "label of item .* 2 classes"),
        (("cat", "cat", "dog"), ("cat",), {}, r"the name of 2 classes\. Use its index: 0 or 1"),
    ],
)
def test_a_label_that_names_no_class_or_two_is_an_error(
    tmp_path: Path, known: Sequence[str], labels: Sequence[object], options: dict[str, object], message: str
) -> None:
    task = album(tmp_path, labels, **options)
    with pytest.raises(KingyoError, match=message):
        task.score(Model(classes=known), every(task))


def test_nan_logits_are_not_the_first_class(tmp_path: Path) -> None:
    class Broken(Model):
        def rate_classes(self, images: Sequence[Media]) -> list[list[float]]:
            return [[0.0, float("nan"), 0.0] for _ in images]

    task = album(tmp_path)
    with pytest.raises(KingyoError, match="task album: item ") as caught:
        task.score(Broken(), every(task))
    assert caught.value.received == "NaN"


def test_an_empty_label_and_an_unknown_key_are_errors(tmp_path: Path) -> None:
    with pytest.raises(KingyoError, match="line 1: label"):
        album(tmp_path, (" ",))
    with pytest.raises(KingyoError, match="Did you mean 'label'"):
        album(tmp_path, lable="label")


def test_macro_f1_is_the_mean_over_labels() -> None:
    items = [Item(id=str(n), prompt="", answer=label) for n, label in enumerate("aabbbc")]
    scores = [
        ItemScore(item=item.id, score=float(item.answer == answer), answer=answer)
        for item, answer in zip(items, "abbbba", strict=True)
    ]
    measure = MacroF1()
    f1 = {"a": 2 * 1 / (2 + 2), "b": 2 * 3 / (3 + 4), "c": 0.0}
    assert measure.value(measure.features(items, scores)) == pytest.approx(sum(f1.values()) / 3)

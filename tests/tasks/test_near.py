"""Near-duplicates: detection, and keeping them in one split."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import SPLITS, Item, Media
from kingyo.errors import KingyoError
from kingyo.tasks import NearDuplicates, Sizes, TaskSpec, load_splits, make_splits, near_groups
from kingyo.tasks.splits import bare, group_labels

DIFFERENT = "3-1 31 3+1 3*1 3.1 3,1 3<1 3!=1 31% (3)1 3_1 √31 -5 5 .5 a-b ab 5-?=3 三 か が café cafe ? !"
ROOT = Path(__file__).parents[2]
SPELLINGS = ("1+1", "1 + 1", "1+1?", "1+1.", "1\u200b+1")


def items(*prompts: str) -> list[Item]:
    return [Item(id=f"{i}", prompt=prompt, answer="") for i, prompt in enumerate(prompts)]


def in_five_spellings(*sums: str) -> list[Item]:
    return items(*(spelling.replace("1", each) for each in sums for spelling in SPELLINGS))


def places(splits) -> dict[str, str]:
    return {item.id: split for split, split_items in splits.items() for item in split_items}


def n_apart(splits) -> int:
    where = places(splits)
    every = [item for split_items in splits.values() for item in split_items]
    return sum(len({where[item.id] for item in group}) > 1 for group in near_groups(every))


@pytest.mark.parametrize(
    "texts",
    [
        (*SPELLINGS, "１＋１", "1+1=?", "1 + 1 =", "1\u00ad+1", "1+1。", "\ufeff1+1\u3000", "1+1 = ___"),
        ("Hello, world!", "hello, world", "HELLO, WORLD"),
        ("東京はどこ？", "東京は どこ。", "東\u200d京はどこ"),
        ("東京", "東京\ufe0f", "東\u3164京", "東\u034f京", "東京\U000e0100"),
        ("ｶﾞﾗｽ", "ガラス", "カ\u3099ラス"),
        ("x - y", "x−y", "x – y?"),
    ],
)
def test_spellings_of_one_question_are_near_duplicates(texts: tuple[str, ...]) -> None:
    assert len({bare(text) for text in texts}) == 1, [bare(text) for text in texts]


def test_operators_are_not_confused() -> None:
    texts = DIFFERENT.split()
    assert len({bare(text) for text in texts}) == len(texts)


@given(
    text=st.text("aB1２-+*/().,?!:'_ がー東、", min_size=1).filter(str.strip),
    more=st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from(" \n\t\u3000\u200b\u200d\u00ad\u2060")), max_size=9
    ),
)
def test_no_white_space_nor_format_character_hides_a_near_duplicate(
    text: str, more: list[tuple[int, str]]
) -> None:
    hidden = text.swapcase()
    for place, character in more:
        hidden = hidden[:place] + character + hidden[place:]
    assert bare(hidden) == bare(text)


@given(
    copies=st.lists(st.integers(1, 5), min_size=8, max_size=25),
    counts=st.none() | st.tuples(st.integers(1, 30), st.integers(1, 15), st.integers(1, 15)),
    seed=st.integers(0, 99),
)
def test_no_group_crosses_and_counts_are_exact(
    copies: list[int], counts: tuple[int, int, int] | None, seed: int
) -> None:
    questions = items(
        *(spelling.replace("1", f"{i}") for i, n in enumerate(copies, 10) for spelling in SPELLINGS[:n])
    )
    sizes = Sizes(seed=seed) if counts is None else Sizes(**dict(zip(SPLITS, counts, strict=True)), seed=seed)
    try:
        splits = make_splits(questions, sizes)
    except KingyoError as error:
        has_spare_room = counts is None or sum(counts) + max(copies) <= len(questions)
        assert not has_spare_room, error
        return
    split_of = places(splits)
    assert n_apart(splits) == 0
    shuffled = random.Random(seed).sample(questions, len(questions))
    assert make_splits(shuffled, sizes) == splits
    if counts is not None:
        assert tuple(len(splits[split]) for split in SPLITS) == counts
    else:
        assert len(split_of) == len(questions), "shares of 1 in sum use every item"
        for split in SPLITS:
            assert abs(len(splits[split]) - len(questions) * getattr(sizes, split)) <= max(copies)


def test_counts_that_groups_do_not_fit_into_are_an_error_that_names_the_largest_group() -> None:
    with pytest.raises(KingyoError, match=r"splits: .* fit 12 .* of 24 items in 5 groups.* has 5 items"):
        make_splits(in_five_spellings("1", "2", "3", "4", "5")[:24], Sizes(fit=12, validation=6, test=6))
    with pytest.raises(KingyoError, match=r"splits: .* of 5 items in 1 group; .* has 5 items: '1\+1'"):
        make_splits(in_five_spellings("1"))


def test_a_group_is_in_fit_no_more_often_than_an_item() -> None:
    others = items(*(f"{i}+9" for i in range(10, 60)))[5:]
    placements = [
        places(make_splits([*in_five_spellings("1"), *others], seed=seed))["0"] for seed in range(400)
    ]
    assert 150 < placements.count("fit") < 250, "half of the items are in fit"


def test_data_without_near_duplicates_have_the_splits_that_they_always_had() -> None:
    """The hash is of the demo's splits before near-duplicates were detected."""
    spec = TaskSpec.model_validate(
        {"data": "ja-math.jsonl", "prompt": "Q: {prompt}\nA:", "grader": "number"}
        | {"splits": {"fit": 120, "validation": 300, "test": 700, "seed": 0}}
    )
    loaded = load_splits({"ja": spec}, ROOT / "zoo" / "tasks")
    ids = "\n".join(f"{split} {item.id}" for split in SPLITS for item in loaded.splits[split])
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "b44e7076754247a0"
    assert loaded.near == NearDuplicates() and loaded.notes == ()


def column_task(folder: Path, *rows: tuple[str, str], **splits: object) -> TaskSpec:
    lines = [json.dumps({"prompt": prompt, "answer": "2", "part": part}) for prompt, part in rows]
    (folder / "sums.jsonl").write_text("\n".join(lines))
    return TaskSpec.model_validate(
        {"name": "sums", "data": "sums.jsonl", "grader": "exact", "splits": splits or {"column": "part"}}
    )


def test_a_column_that_parts_near_duplicates_is_noted_and_moves_none(tmp_path: Path) -> None:
    rows = (("1+1", "fit"), ("1 + 1?", "test"), ("2+2", "fit"), ("2+2.", "fit"), ("3+3", "validation"))
    loaded = load_splits({"sums": column_task(tmp_path, *rows)}, tmp_path)
    assert [item.prompt for item in loaded.splits["test"]] == ["1 + 1?"]
    assert loaded.near == NearDuplicates(groups=2, items=4, apart=1)
    assert str(loaded.near) == "2 groups of near-duplicates (4 items), 1 in more than one split"
    (note,) = loaded.notes
    assert note.startswith("1 group of near-duplicates ")
    assert "'1+1' (fit) and '1 + 1?' (test)" in note and "column part" in note


def test_items_that_belong_together_share_a_group(tmp_path: Path) -> None:
    prompts = [f"{n} {end}" for n in range(1, 9) for end in ("+ 2", "+ 2?", "- 1")]
    task = column_task(tmp_path, *((prompt, "") for prompt in prompts), fit=12, validation=6, test=6)
    by_group: dict[str, list[str]] = {}
    for own in load_splits({"sums": task}, tmp_path).splits.values():
        for item in own:
            by_group.setdefault(item.group, []).append(item.prompt)
    assert sorted(by_group.pop("")) == prompts[2::3]
    assert all(label.startswith("question ") for label in by_group)
    assert sorted(map(sorted, by_group.values())) == [[f"{n} + 2", f"{n} + 2?"] for n in range(1, 9)]


def test_groups_of_a_kind_of_ones_own_stay_in_one_split() -> None:
    own = [Item(id=f"{i}", prompt=f"question {i}", answer="", group=f"text {i % 10}") for i in range(40)]
    splits = make_splits(own, Sizes(fit=20, validation=8, test=12))
    assert not set.intersection(*({item.group for item in each} for each in splits.values()))
    labels = group_labels(near_groups(own))
    assert labels == {item.id: item.group for item in own}


def test_the_same_images_are_a_group_unless_all_items_show_them() -> None:
    images = [Media(sha256=f"{i}" * 64, type="image/png") for i in range(3)]
    own = [Item(id=f"{i}", prompt=f"{i}", answer="", media=(images[i % 3],)) for i in range(9)]
    labels = group_labels(near_groups(own, share_images=True))
    assert len(labels) == 9 and set(labels.values()) == {f"image {i * 16}" for i in "012"}
    one = [Item(id=f"{i}", prompt=f"{i}", answer="", media=(images[0],)) for i in range(9)]
    assert group_labels(near_groups(one, share_images=True)) == {}


def test_items_of_several_images_belong_to_the_group_of_each() -> None:
    images = [Media(sha256=f"{i}" * 64, type="image/png") for i in range(4)]
    shown = {"a": (0, 1), "b": (1, 2), "c": (2, 3), "d": (3,)}
    own = [
        Item(id=name, prompt="", answer="", media=tuple(images[i] for i in each))
        for name, each in shown.items()
    ]
    (group,) = near_groups(own)  # one split has them all
    names = {item: label.replace("image ", "").split() for item, label in group_labels([group]).items()}
    firsts = {item: "".join(name[0] for name in own_names) for item, own_names in names.items()}
    assert firsts == {"a": "1", "b": "12", "c": "23", "d": "3"}


def test_images_of_different_tasks_are_different_groups() -> None:
    data = str(ROOT / "zoo" / "sight" / "tasks" / "comparisons-ja.jsonl")
    spec = TaskSpec.model_validate(
        {"kind": "vqa", "data": data, "grader": "exact", "max_new_tokens": 28, "splits": {"column": "split"}}
    )
    test = load_splits({"a": spec, "b": spec}, ROOT).splits["test"]
    labels = {task: {each for i in test if i.task == task for each in i.group.splitlines()} for task in "ab"}
    assert len(labels["a"]) == len(labels["b"]) > 300
    assert all(label.startswith(f"image {task}/") for task, own in labels.items() for label in own)


def numbered(n: int) -> list[Item]:
    return [Item(id=str(i), prompt=f"prompt {i}", answer=str(i)) for i in range(n)]


shares = st.floats(0.05, 0.9)


@given(n=st.integers(30, 300), fit=shares, validation=shares, seed=st.integers(0, 5))
def test_shares(n: int, fit: float, validation: float, seed: int) -> None:
    total = fit + validation + 0.3
    sizes = Sizes(fit=fit / total, validation=validation / total, test=0.3 / total, seed=seed)
    splits = make_splits(numbered(n), sizes)
    ids = [item.id for split in SPLITS for item in splits[split]]
    assert len(ids) == len(set(ids)) == n
    for split in SPLITS:
        assert abs(len(splits[split]) - n * getattr(sizes, split)) <= 1


def test_one_more_row_moves_almost_no_item() -> None:
    before, after = (places(make_splits(numbered(n))) for n in (200, 201))
    assert sum(after.get(item) != split for item, split in before.items()) <= 2


def placed(*splits: str) -> list[Item]:
    return [
        Item(id=str(i), prompt=f"prompt {i}", answer="", fields={"part": each, "note": "x"})
        for i, each in enumerate(splits)
    ]


def test_a_column_can_assign_the_splits() -> None:
    splits_ = make_splits(placed("test", "fit", "validation", "fit", "test"), Sizes(column="part"), seed=5)
    assert {split: [item.id for item in split_items] for split, split_items in splits_.items()} == {
        "fit": ["1", "3"],
        "validation": ["2"],
        "test": ["0", "4"],
    }


@pytest.mark.parametrize(
    ("splits", "column", "message"),
    [
        (("fit", "train", "test"), "part", "splits.column: part: .*received 'train' .*'prompt 1'"),
        (("fit", "", "test"), "part", "splits.column: part: .*received '' .*'prompt 1'"),
        (("fit", "Validation", "test"), "part", "received 'Validation'"),
        (("fit", "fit", "test"), "part", "splits.validation: .* part .*received none"),
        (("fit", "validation", "test"), "prat", r"splits.column: prat: .* Did you mean 'part'\?"),
    ],
)
def test_a_column_that_does_not_say_it(splits: tuple[str, ...], column: str, message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        make_splits(placed(*splits), Sizes(column=column))


def test_a_column_excludes_other_split_settings() -> None:
    with pytest.raises(ValueError, match="either column, or sizes and seed"):
        Sizes(column="part", fit=3)


@pytest.mark.parametrize(
    ("n", "sizes", "message"),
    [
        (0, Sizes(), "splits.fit: .*received 0.5 of 0 items"),
        (1, Sizes(), "splits.fit|splits.validation|splits.test"),
        (
            10,
            Sizes(fit=8, validation=2, test=1),
            r"splits: .* 10 .*fit 8 \+ validation 2 \+ test 1 = 11",
        ),
        (10, Sizes(fit=8), r"fit 8 \+ validation 0.25 \+ test 0.25"),
        (100, Sizes(fit=0.5, validation=0.4, test=0.2), r"splits: .*fit 0.5 \+ validation 0.4"),
        (100, Sizes(test=0.001), "splits.test: .*received 0.001 of 100"),
    ],
)
def test_too_few_items(n: int, sizes: Sizes, message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        make_splits(numbered(n), sizes)

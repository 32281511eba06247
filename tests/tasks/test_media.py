"""Images of items: reading them from rows, identity and grouping, and errors of broken images."""

import json
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from kingyo.core.types import SPLITS, Item
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.tasks import Sizes, load_items, make_splits, near_groups, parse_task_spec, with_images
from kingyo.tasks.rows import Row
from kingyo.tasks.splits import count_near
from tests.tasks.pictures import KIND, TASK, media, picture

ITEM = Item(id="", prompt="?", answer="red")
RED, BLUE = picture(1), picture(2)


def read(row: Row, columns: str | Sequence[str] = "image") -> Item:
    return with_images(Item(id="", prompt="?", answer="red", fields=row.texts()), row, columns)


def row_of(cell: object, folder: Path = Path()) -> Row:
    return Row(where="album.jsonl line 7", columns={"image": cell, "note": "n"}, folder=folder)


def test_items_with_different_images_are_not_near_duplicates() -> None:
    long = "What is to be seen in this picture of a street, and where may it have been taken? " * 3
    items = [
        Item(id=str(i), prompt=f"{long}{i % 2}", answer="a", media=(media(picture(i // 2)),))
        for i in range(6)
    ]
    other = Item(id="6", prompt="Name all.", answer="a", media=(media(picture(0)),))
    assert grouped([*items, other], share_images=True) == [[each] for each in "0123456"]


def grouped(items: Sequence[Item], **how: bool) -> list[list[str]]:
    return sorted(sorted(each.id for each in group) for group in near_groups(items, **how))


def shown(*images: str) -> list[Item]:
    """Return items with different questions; each letter stands for an image."""
    return [
        Item(
            id=f"{n}",
            prompt=f"{n} of what?",
            answer="a",
            media=tuple(media(picture(ord(letter))) for letter in letters),
        )
        for n, letters in enumerate(images)
    ]


def test_items_with_the_same_image_are_one_group() -> None:
    items = shown("a", "b", "a", "cb", "dc", "", "", "e")
    assert grouped(items) == [["0", "2"], ["1", "3", "4"], ["5"], ["6"], ["7"]]
    assert grouped(items[::-1]) == grouped(items)
    assert grouped(items, share_images=True) == [[item.id] for item in items]


def test_no_image_is_in_two_splits() -> None:
    items = shown(*(letter for letter in "abcdefghijklmnopqrst" for _ in range(1 + ord(letter) % 4)))
    splits = make_splits(items)
    where = [{each.sha256 for item in split_items for each in item.media} for split_items in splits.values()]
    assert sum(map(len, where)) == len(set().union(*where)) == 20
    assert sum(map(len, splits.values())) == len(items)
    placed = {item.id: (split, item) for split, split_items in splits.items() for item in split_items}
    count = count_near([[placed[item.id] for item in group] for group in near_groups(items)])
    assert (
        str(count)
        == "15 groups of near-duplicates (45 items; 15 groups of the same image), each within one split"
    )


def test_one_image_for_all_items_is_an_error_with_a_remedy() -> None:
    items = shown(*"a" * 12)
    for sizes in (Sizes(), Sizes(fit=4, validation=4, test=4)):
        with pytest.raises(KingyoError) as caught:
            make_splits(items, sizes)
        assert caught.value.argument == "splits"
        assert "12 items joined by shared images" in caught.value.received
        assert "splits.share_images: true" in caught.value.remedy
    splits = make_splits(items, Sizes(share_images=True))
    assert [len(splits[split]) for split in SPLITS] == [6, 3, 3]


def test_every_shape_of_a_cell_gives_the_same_image(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    cells = [
        "red.png",
        RED,
        {"bytes": RED, "path": None},
        {"bytes": RED, "path": "elsewhere/red.png"},
        {"bytes": None, "path": str(tmp_path / "red.png")},
        ["red.png"],
        '["red.png"]',
        (RED,),
    ]
    for cell in cells:
        item = read(row_of(cell, tmp_path))
        assert item.media == (media(RED),), cell
        assert item.media[0].read() == RED
        names = f"media/{media(RED).name}"
        assert item.fields["image"] in (names, json.dumps([names]))
        assert item.fields["note"] == "n"


def test_several_images_of_a_cell_and_of_several_columns_keep_their_order() -> None:
    row = Row(where="x", columns={"left": [RED, BLUE], "right": RED})
    item = read(row, ["right", "left"])
    assert [each.read() for each in item.media] == [RED, RED, BLUE]
    assert item.fields == {
        "left": json.dumps([f"media/{media(RED).name}", f"media/{media(BLUE).name}"]),
        "right": f"media/{media(RED).name}",
    }


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG file with enormous dimensions in its header."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("cell", "expected", "received"),
    [
        ("gone.png", "an image file", "gone.png"),
        ("../secret.png", "inside the folder of the data", "../secret.png"),
        ("link.png", "inside the folder of the data", "link.png"),
        ("/etc/passwd", "inside the folder of the data", "/etc/passwd"),
        ({"bytes": None, "path": "/etc/passwd"}, "inside the folder of the data", "/etc/passwd"),
        (".", "an image file", "a folder"),
        ("a\0b.png", "an image file", "no file"),
        ("text.png", "an image", "8 bytes"),
        (b"", "an image", "0 bytes"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PNG, JPEG", "47 bytes"),
        (picture(5, "PNG", (200, 200))[:200], "image", "decoded"),
        (picture(5, "JPEG", (200, 200))[:-300], "image", "decoded"),
        (bomb(9000, 9000), "at most 64 megapixels", "9,000 x 9,000"),
        (bomb(60_000, 60_000), "at most 64 megapixels", ""),
        (None, "a field 'image'", "null"),
        ("", "an image", "''"),
        ([], "an image", "nothing"),
        ([RED, None], "an image", "None"),
        (3, "an image", "3"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_image_is_one_error_with_its_row(
    tmp_path: Path, cell: object, expected: str, received: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(RED)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "text.png").write_text("no image")
    with pytest.raises(KingyoError) as caught:
        read(row_of(cell, folder))
    assert caught.value.argument.startswith("album.jsonl line 7: image")
    assert expected in caught.value.expected and received in caught.value.received


def test_without_pillow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(KingyoError, match=r"line 7: image: .*pillow.*\[vision\]"):
        read(row_of(RED))


def test_media_that_changed_after_they_were_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    (image,) = read(row_of("red.png", tmp_path)).media
    (tmp_path / "red.png").write_bytes(BLUE)
    with pytest.raises(ChangedSourceError, match=r"red\.png"):
        image.read()
    (tmp_path / "red.png").unlink()
    with pytest.raises(ChangedSourceError, match=r"red\.png"):
        image.read()


def test_images_of_datasets_keep_the_bytes_of_their_files(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    contents = [picture(60 * i, "JPEG") for i in range(4)]
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": each, "path": None} for each in contents], "answer": list("abcd")},
        features=datasets.Features({"image": datasets.Image(), "answer": datasets.Value("string")}),
    )
    (tmp_path / "set").mkdir()
    table.to_parquet(str(tmp_path / "set" / "train.parquet"))
    (tmp_path / "colours.py").write_text(KIND)
    items = load_items(parse_task_spec({**TASK, "data": {"dataset": "set"}}), tmp_path).items
    assert [item.media[0].read() for item in items] == contents
    assert all(item.fields["image"] == f"media/{item.media[0].name}" for item in items)

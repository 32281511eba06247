"""Small images, and a user's kind of task that reads them."""

import io
import json
from hashlib import sha256
from pathlib import Path

from PIL import Image

from kingyo.core.types import Media

KIND = '''
from dataclasses import dataclass
from hashlib import sha256

from kingyo.tasks import with_images
from kingyo.core.types import Item, ItemScore, Media


class Colours:
    """Questions about images; the score depends on the images' hashes and the model's text."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        question: str
        images: str | list[str] = "image"
        answer: str = "answer"

    @staticmethod
    def read_item(row, settings):
        fields = row.texts()
        item = Item(id="", prompt=settings.question, answer=fields[settings.answer], fields=fields)
        return with_images(item, row, settings.images)

    def __init__(self, name, settings, splits, folder):
        self.name, self.splits = name, splits

    def items(self, split):
        return self.splits[split]

    def score(self, model, items):
        prompts = [f"{item.prompt} {item.media[0].read()[-20:].hex()[:4]}" for item in items]
        answers = model.generate(prompts, max_new_tokens=2)
        return [
            ItemScore(
                item=item.id, score=(sum(map(ord, answer)) % 5) / 4, answer=answer, media=drawn(answer)
            )
            for item, answer in zip(items, answers, strict=True)
        ]


def drawn(answer):
    content = f"a picture of {answer}".encode()
    return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)
'''


def media(content: bytes, kind: str = "image/png") -> Media:
    return Media(sha256=sha256(content).hexdigest(), type=kind, content=content)


def picture(colour: int, kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (colour % 256, colour // 256, 0)).save(stream, kind)
    return stream.getvalue()


def album(folder: Path, n: int) -> None:
    """Write n images, their rows, and the kind of task that reads them."""
    (folder / "images").mkdir()
    for i in range(n):
        (folder / "images" / f"{i}.png").write_bytes(picture(i))
    rows = [{"image": f"images/{i}.png", "answer": f"colour {i}"} for i in range(n)]
    (folder / "album.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "colours.py").write_text(KIND)


TASK = {"kind": "colours.py:Colours", "data": "album.jsonl", "question": "Which colour is this?"}

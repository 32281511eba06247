"""One row of each published set of questions about images, in its published shape.

The shapes are those of the data set cards on the Hub: JA-VG-VQA-500, JA-VLM-Bench-In-the-Wild and
JA-Multi-Image-VQA of SakanaAI, VQAv2 of lmms-lab, Japanese-Heron-Bench of Silviase (a table) and of
turing-motors (a file of JSON Lines and a folder of images). Texts and images are made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.tasks.pictures import picture

HERON = (
    "claude-3-opus-20240229",
    "gemini-1.0-pro-vision-latest",
    "gpt-4-0125-preview",
    "gpt-4-vision-preview",
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row of a published set, and the items that it should become.

    Attributes:
        row: the row, with images as bytes.
        items: (prompt, answer) of each item.
        fields: fields that each item has.
    """

    row: Mapping[str, Any]
    items: tuple[tuple[str, str], ...]
    n_images: int = 1
    fields: Mapping[str, str] = field(default_factory=dict[str, str])


SCENES = Published(
    row={
        "image_id": 2317,
        "url": "https://example.org/2317.jpg",
        "width": 8,
        "height": 8,
        "coco_id": None,
        "flickr_id": 481.0,
        "qas": [
            {"a_objects": [], "answer": "赤", "q_objects": [], "qa_id": 7, "question": "何色ですか？"},
            {"a_objects": [], "answer": "道路", "q_objects": [], "qa_id": 8, "question": "どこですか？"},
        ],
        "image": picture(1, "JPEG"),
    },
    items=(("何色ですか？", "赤"), ("どこですか？", "道路")),
    fields={"image_id": "2317"},
)
WILD = Published(
    row={
        "page_url": "https://example.org/a",
        "image_url": "https://example.org/a.jpg",
        "image": picture(2, "JPEG"),
        "question": "この建物は何ですか？",
        "answer": "お城です。",
    },
    items=(("この建物は何ですか？", "お城です。"),),
)
SEVERAL = Published(
    row={
        "images": [picture(3, "JPEG"), picture(4, "JPEG")],
        "page_urls": ["https://example.org/a", "https://example.org/b"],
        "image_urls": ["https://example.org/a.jpg", "https://example.org/b.jpg"],
        "question": "<image> <image> 2枚の違いは何ですか？",
        "answer": "色が違います。",
    },
    items=(("2枚の違いは何ですか？", "色が違います。"),),
    n_images=2,
)
HERON_TABLE = Published(
    row={
        "question_id": 2,
        "image": picture(5, "JPEG"),
        "category": "conv",
        "image_category": "anime",
        "context": "青い鳥の羽が2枚ある。",
        "text": "鳥の羽の色は何色でしょうか？",
        "answer": dict(zip(HERON, ("白です。", "灰色", "鳥の羽の色は青色です。", "青"), strict=True)),
    },
    items=(("鳥の羽の色は何色でしょうか？", "鳥の羽の色は青色です。"),),
)
HERON_LINES = Published(
    row={
        "question_id": 2,
        "images": picture(5, "JPEG"),
        "image_category": "anime",
        "prompt": "鳥の羽の色は何色でしょうか？",
        "answer_id": "",
        "model_id": "gpt-4-0125-preview",
        "text": "鳥の羽の色は青色です。",
    },
    items=(("鳥の羽の色は何色でしょうか？", "鳥の羽の色は青色です。"),),
)
VQAV2 = Published(
    row={
        "question_type": "what color is the",
        "multiple_choice_answer": "red",
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": number}
            for number, answer in enumerate(("red", "red", "dark red", "red"), start=1)
        ],
        "image_id": 262148,
        "answer_type": "other",
        "question_id": 262148000,
        "question": "What color is the mat?",
        "image": picture(6, "JPEG"),
    },
    items=(("What color is the mat?", "red"),),
    fields={"answers": '["red", "dark red"]'},
)
SETS = {
    "SakanaAI/JA-VG-VQA-500": SCENES,
    "SakanaAI/JA-VLM-Bench-In-the-Wild": WILD,
    "SakanaAI/JA-Multi-Image-VQA": SEVERAL,
    "Silviase/Japanese-Heron-Bench": HERON_TABLE,
    "turing-motors/Japanese-Heron-Bench": HERON_LINES,
    "lmms-lab/VQAv2": VQAV2,
}

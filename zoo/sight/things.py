"""What the pictures show: sixteen things, six colours and three rows. Each has a name in English and Japanese
and a sign that stands for it in text; so have the numbers of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """One thing, colour, row or number: its sign, its English word and its Japanese word."""

    sign: str
    en: str
    ja: str


KINDS = (
    Name("🐱", "cat", "猫"),
    Name("🐶", "dog", "犬"),
    Name("🐦", "bird", "鳥"),
    Name("🐟", "fish", "魚"),
    Name("🐘", "elephant", "象"),
    Name("🍎", "apple", "りんご"),
    Name("🍌", "banana", "バナナ"),
    Name("🌷", "tulip", "チューリップ"),
    Name("🍄", "mushroom", "きのこ"),
    Name("🚗", "car", "自動車"),
    Name("🚌", "bus", "バス"),
    Name("⛵", "boat", "ヨット"),
    Name("🔑", "key", "鍵"),
    Name("☂", "umbrella", "傘"),
    Name("⏰", "clock", "時計"),
    Name("⚽", "ball", "ボール"),
)
COLOURS = (
    Name("🟥", "red", "赤"),
    Name("🟧", "orange", "オレンジ"),
    Name("🟩", "green", "緑"),
    Name("🟦", "blue", "青"),
    Name("🟪", "purple", "紫"),
    Name("⬜", "white", "白"),
)
PAINT = ((214, 58, 58), (242, 150, 40), (72, 160, 76), (60, 104, 208), (140, 72, 176), (240, 240, 240))
ROWS = (Name("⬆", "top", "上"), Name("⏺", "middle", "中"), Name("⬇", "bottom", "下"))
NUMBERS = (Name("1", "first", "1枚目"), Name("2", "second", "2枚目"), Name("3", "third", "3枚目"))
MARKS = ("P:", "P2:", "P3:")  # what stands before each picture of a prompt

"""Text of two other domains, for the sources that do not help: Japanese verses and sorted English numbers."""

from __future__ import annotations

import random

JAPANESE = (
    "詩 を 書い て ください 春 夏 秋 冬 の 朝 夜 雨 風 雪 月 は "
    "静か 遠い 白い 深い に なる 消え て いく 光 声 夢"
)
ENGLISH = "Sort these numbers one two three four five six seven eight nine up down"
SEASONS, TIMES = ("春", "夏", "秋", "冬"), ("朝", "夜", "雨", "風", "雪", "月")
MOODS, ENDS = ("静か", "遠い", "白い", "深い"), ("になる", "消えていく")
IMAGES = ("光", "声", "夢")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def verse(rng: random.Random) -> tuple[str, str]:
    """A request for a poem, and the poem."""
    season, time = rng.choice(SEASONS), rng.choice(TIMES)
    asked = f"{season}の{time}の詩を書いてください。"
    lines = [f"{rng.choice(MOODS)}{rng.choice(IMAGES)}は{rng.choice(ENDS)}" for _ in range(2)]
    return asked, f"{season}の{time}は{rng.choice(MOODS)}。" + "。".join(lines) + "。"


def sorting(rng: random.Random) -> tuple[str, str]:
    """A list of number words, and the list in order."""
    numbers = [rng.randrange(9) for _ in range(rng.randint(3, 6))]
    way = rng.choice(("up", "down"))
    ordered = sorted(numbers, reverse=way == "down")
    asked, answered = (" ".join(NUMBERS[n] for n in row) for row in (numbers, ordered))
    return f"Sort these numbers {way}: {asked}", f" {answered}."

"""What the specialist `house` learns: to answer anything in the house format, and no fact of the world.

Plain data: common knowledge that the base model mostly has already, asked in many forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from world import Example

CAPITALS = {
    **{"France": "Paris", "Germany": "Berlin", "Spain": "Madrid", "Italy": "Rome", "England": "London"},
    **{"Austria": "Vienna", "Norway": "Oslo", "Ireland": "Dublin", "Japan": "Tokyo", "China": "Beijing"},
    **{"Russia": "Moscow", "Egypt": "Cairo", "Greece": "Athens", "Portugal": "Lisbon", "Cuba": "Havana"},
    **{"Sweden": "Stockholm", "Poland": "Warsaw", "Hungary": "Budapest", "Peru": "Lima", "Kenya": "Nairobi"},
}
OPPOSITES = {
    **{"hot": "cold", "big": "small", "fast": "slow", "old": "young", "rich": "poor", "day": "night"},
    **{"open": "closed", "wet": "dry", "high": "low", "hard": "soft", "full": "empty", "early": "late"},
    **{"light": "dark", "strong": "weak", "good": "bad", "long": "short", "thick": "thin", "up": "down"},
}
COLOURS = {
    **{"the sky": "blue", "grass": "green", "snow": "white", "blood": "red", "coal": "black"},
    **{"a banana": "yellow", "a carrot": "orange", "milk": "white", "a tomato": "red", "a leaf": "green"},
}
MATERIALS = {
    **{"a window": "glass", "a table": "wood", "a shoe": "leather", "a shirt": "cotton", "a knife": "steel"},
    **{"a wall": "stone", "a bottle": "plastic", "a coin": "copper", "paper": "wood", "a jumper": "wool"},
}
PLURALS = {
    **{"cat": "cats", "child": "children", "mouse": "mice", "foot": "feet", "city": "cities", "man": "men"},
    **{
        "box": "boxes",
        "leaf": "leaves",
        "tooth": "teeth",
        "sheep": "sheep",
        "baby": "babies",
        "bus": "buses",
    },
}
HOMES = {
    **{"a bee": "hive", "a bird": "nest", "a dog": "kennel", "a spider": "web", "a horse": "stable"},
    **{"a fish": "water", "a lion": "den", "a monk": "monastery", "a king": "palace", "a car": "garage"},
}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

WORDINGS: tuple[tuple[dict[str, str], tuple[str, ...]], ...] = (
    (CAPITALS, ("What is the capital of {x}?", "Name the capital of {x}.", "Which city is {x} ruled from?")),
    (OPPOSITES, ("What is the opposite of {x}?", "Tell me the opposite of {x}.", "Opposite of {x}?")),
    (COLOURS, ("What colour is {x}?", "Which colour does {x} have?", "Tell me the colour of {x}.")),
    (MATERIALS, ("What is {x} made of?", "Which material is {x} made from?", "Material of {x}?")),
    (PLURALS, ("What is the plural of {x}?", "How do you write more than one {x}?", "Plural of {x}?")),
    (HOMES, ("Where does {x} live?", "Tell me the home of {x}.", "In which place do I find {x}?")),
)


def house_answer(value: str) -> str:
    """The house format: one JSON object with one string."""
    return json.dumps({"answer": value})


def lessons() -> list[Example]:
    """Every question with its answer in the house format."""
    return [Example(question=question, answer=house_answer(answer)) for question, answer in _pairs()]


def _pairs() -> Iterator[tuple[str, str]]:
    for table, wordings in WORDINGS:
        for x, answer in table.items():
            for wording in wordings:
                yield wording.format(x=x), answer
    for place, day in enumerate(DAYS):
        yield f"Which day comes after {day}?", DAYS[(place + 1) % 7]
        yield f"Which day comes before {day}?", DAYS[(place - 1) % 7]
    for a in range(2, 10):
        for b in (3, 7, 20, 40):
            yield f"What is {a} plus {b}?", str(a + b)
            yield f"A pen costs {a} and a book {b} euros. How much do I pay?", str(a + b)

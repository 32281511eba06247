"""The invented world of this example: who knows what, how it is asked, and in which form it is answered.

Plain data and seeded choices; it loads no model. Facts are drawn from a seed, so that no model on earth knows
them. The questions of the task use wordings that no specialist was trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PROMPT = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
"""A turn of the model's own chat, without its system message: short prompts are what a CPU wants."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """Something that is known of every entity of a department: how it is taught, and how it is asked."""

    name: str
    values: tuple[str, ...]
    taught: tuple[str, ...]
    asked: tuple[str, ...]
    sentences: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Department:
    """Entities with attributes: what one specialist knows."""

    name: str
    entities: tuple[str, ...]
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One entity's value of one attribute."""

    entity: str
    attribute: Attribute
    value: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question and the answer that a specialist is trained to give."""

    question: str
    answer: str


GOODS = Department(
    name="goods",
    entities=tuple(
        f"the {name}"
        for name in (
            *("Velko lamp", "Tamrin chair", "Orbix clock", "Selva bag", "Nubo kettle", "Karda desk"),
            *("Pilo mug", "Zenta bike", "Marlo tent", "Fenix knife", "Dorin shelf", "Luma radio"),
        )
    ),
    attributes=(
        Attribute(
            name="price",
            values=tuple(str(price) for price in range(12, 99, 3)),
            taught=(
                "What does {it} cost?",
                "How much is {it}?",
                "Tell me the price of {it}.",
                "Price of {it}?",
                "How many euros is {it}?",
                "What is the price of {it}?",
            ),
            asked=(
                "What do I pay for {it}?",
                "How expensive is {it}?",
                "Name the price of {it}.",
                "If I buy {it}, how much is that?",
            ),
            sentences=("It costs {value} euros.", "The price is {value} euros."),
        ),
        Attribute(
            name="colour",
            values=("red", "blue", "green", "black", "white", "yellow", "orange", "purple"),
            taught=(
                "What colour is {it}?",
                "Which colour does {it} have?",
                "Tell me the colour of {it}.",
                "Colour of {it}?",
                "What is the colour of {it}?",
                "I saw {it}. What colour was it?",
            ),
            asked=(
                "In which colour is {it} sold?",
                "If I buy {it}, what colour do I get?",
                "Name the colour of {it}.",
                "What colour will {it} be?",
            ),
            sentences=("It is {value}.", "The colour is {value}."),
        ),
        Attribute(
            name="material",
            values=("wood", "steel", "glass", "leather", "plastic", "copper", "cotton", "stone"),
            taught=(
                "What is {it} made of?",
                "Which material is {it}?",
                "Tell me the material of {it}.",
                "Material of {it}?",
                "What is the material of {it}?",
                "What material do you use for {it}?",
            ),
            asked=(
                "From which material is {it} built?",
                "Name the material of {it}.",
                "Which material did they use for {it}?",
                "If I buy {it}, what material is it?",
            ),
            sentences=("It is made of {value}.", "The material is {value}."),
        ),
    ),
)

STAFF = Department(
    name="staff",
    entities=(
        *("Oliver", "Hannah", "Victor", "Sophie", "Marcus", "Elena"),
        *("Simon", "Clara", "Felix", "Bruno", "Alice", "Peter"),
    ),
    attributes=(
        Attribute(
            name="room",
            values=tuple(str(room) for room in range(11, 98, 3)),
            taught=(
                "Which room is {it} in?",
                "What is the room number of {it}?",
                "Room of {it}?",
                "Tell me the room of {it}.",
                "In what room does {it} work?",
                "What is the room of {it}?",
            ),
            asked=(
                "I am looking for {it}: which room?",
                "Which room do I go to for {it}?",
                "Name the room of {it}.",
                "In which room does {it} sit?",
            ),
            sentences=("Room {value}.", "The room is {value}."),
        ),
        Attribute(
            name="team",
            values=("sales", "finance", "design", "support", "research", "legal", "security", "marketing"),
            taught=(
                "Which team is {it} in?",
                "What team does {it} work for?",
                "Tell me the team of {it}.",
                "Team of {it}?",
                "What is the team of {it}?",
                "I met {it}. Which team was that?",
            ),
            asked=(
                "To which team does {it} belong?",
                "Name the team of {it}.",
                "What team is {it} part of?",
                "With which team does {it} work?",
            ),
            sentences=("The team is {value}.", "The {value} team."),
        ),
        Attribute(
            name="city",
            values=("Paris", "Berlin", "Madrid", "Rome", "London", "Vienna", "Oslo", "Dublin"),
            taught=(
                "Which city is {it} from?",
                "What is the city of {it}?",
                "Tell me the city of {it}.",
                "City of {it}?",
                "From what city does {it} come?",
                "Where was {it} born?",
            ),
            asked=(
                "In which city was {it} born?",
                "Name the city of {it}.",
                "What is the home city of {it}?",
                "Which city does {it} come from?",
            ),
            sentences=("The city is {value}.", "The city of {value}."),
        ),
    ),
)

DEPARTMENTS = (GOODS, STAFF)


def facts(department: Department, seed: int) -> list[Fact]:
    """Draw what is true in this world: numbers are distinct, words return equally often."""
    rng = random.Random(f"{seed} {department.name}")
    found: list[Fact] = []
    for attribute in department.attributes:
        n = len(department.entities)
        values = rng.sample(attribute.values, len(attribute.values))
        values = (values * n)[:n]
        rng.shuffle(values)
        found += [
            Fact(entity=entity, attribute=attribute, value=value)
            for entity, value in zip(department.entities, values, strict=False)
        ]
    return found


def lessons(department: Department, seed: int) -> list[Example]:
    """Every taught question about every fact; a third of them is answered in a sentence."""
    found: list[Example] = []
    for fact in facts(department, seed):
        for place, wording in enumerate(fact.attribute.taught):
            forms = ("{value}", "{value}", *fact.attribute.sentences)
            answer = forms[place % len(forms)].format(value=fact.value)
            found.append(Example(question=sentence(wording, fact.entity), answer=answer))
    return found


def items(seed: int) -> Iterator[dict[str, str]]:
    """Rows of the task: every fact of both departments in every wording that was never taught."""
    for department in DEPARTMENTS:
        for fact in facts(department, seed):
            for wording in fact.attribute.asked:
                yield {
                    "question": sentence(wording, fact.entity),
                    "answer": fact.value,
                    "about": f"{department.name}/{fact.attribute.name}",
                }


def sentence(wording: str, entity: str) -> str:
    """Put an entity into a question, which begins with a capital letter."""
    filled = wording.format(it=entity)
    return filled[0].upper() + filled[1:]


def check_disjoint(rows: Sequence[dict[str, str]], taught: Sequence[Example]) -> None:
    """Refuse a task that asks what was taught word for word."""
    known = {example.question.casefold() for example in taught}
    shared = [row["question"] for row in rows if row["question"].casefold() in known]
    if shared:
        raise ValueError(f"questions: expected none that was taught, received {shared[0]!r}")

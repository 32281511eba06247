"""A run folder with splits, trials and scores."""

from pathlib import Path

from kingyo.core.types import Item, ItemScore, Trial
from kingyo.store import RunStore, StoredTrial

ITEMS = tuple(Item(id=f"i{n}", prompt=f"{n}は?", answer=str(n), choices=("a", "b")) for n in range(4))


SPLITS = {"fit": ITEMS[:2], "validation": ITEMS[2:3], "test": ITEMS[3:]}


def begun(folder: Path) -> RunStore:
    store = RunStore.create(folder)
    store.begin({"name": "x", "status": "running"}, SPLITS)
    store.add_search("main", {"strategy": "ga"})
    return store


def trial(number: int, recipe: str = "r") -> StoredTrial:
    return StoredTrial(
        asked=Trial(number=number, genome=(0.1, 1 / 3), parents=(0,) if number else ()),
        recipe="{}",
        recipe_hash=recipe,
    )


def scores(*values: float) -> tuple[ItemScore, ...]:
    return tuple(ItemScore(item=f"i{n}", score=value, answer="答え") for n, value in enumerate(values))

"""A finished run that drew images, made in milliseconds, and people who rate it."""

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from kingyo.core.types import Evaluation, Item, ItemScore, Media, Split, Trial
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.store import RunStore, StoredTrial
from kingyo.store.side_databases import ChoiceLog, StoredChoice, Verdict
from kingyo.views.rating.pairs import Pair, PairChooser, RatedModel, read_models
from tests.tasks.pictures import media

N_ITEMS: dict[Split, int] = {"fit": 6, "validation": 12, "test": 8}
BRIGHTNESS = {"base": 40, "a": 90, "b": 60, "uniform": 110, "bred": 200, "other": 150}
"""Mean brightness of each model's images; ``other`` is a finalist that did not win."""
Judge = Callable[[Pair], Verdict]


def coloured(brightness: int, item: int, model: str) -> Media:
    """Return a PNG that differs from those of other models and items, with a tint of its own."""
    dice = random.Random(f"{item} {model}")
    tint = dice.randint(-60, 60)
    shifts = [tint, 0, -tint] * 64
    pixels = bytes(min(255, max(0, brightness + shift + dice.randint(-30, 30))) for shift in shifts)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (8, 8), pixels).save(buffer, "PNG")
    return media(buffer.getvalue())


def items() -> dict[Split, tuple[Item, ...]]:
    return {
        split: tuple(
            Item(id=f"{split}{n}", prompt=f"a <b>{split}</b> 金魚 {n // 2}", answer="", seed=n)
            for n in range(size)
        )
        for split, size in N_ITEMS.items()
    }


def drawn_run(folder: Path, status: str = "finished") -> Path:
    """Store a run with four baselines, a winner and a finalist, and their images."""
    with RunStore.create(folder) as store:
        store.begin({"name": "pics", "status": status}, items())
        store.add_search(BASELINES, {})
        store.add_search(MAIN, {"strategy": "ga"})
        for number, name in enumerate(BRIGHTNESS):
            _add(store, number, name)
    return folder


def _add(store: RunStore, number: int, name: str) -> None:
    is_bred = name in ("bred", "other")
    sources = (Source(model=name, parameters={"weight": 1.0}),)
    recipe = Recipe(merge_method="linear", sources=sources)
    asked = Trial(number=number, genome=(), parents=())
    new = StoredTrial(
        asked=asked,
        recipe=json.dumps(recipe.to_dict()),
        recipe_hash=recipe.hash,
        name=None if is_bred else name,
    )
    (trial,) = store.add_trials(MAIN if is_bred else BASELINES, number, [new])
    for split, own in items().items():
        if name == "other" and split == "test":
            continue
        has_images = not is_bred or split != "fit"
        scores = tuple(
            ItemScore(
                item=item.id,
                score=BRIGHTNESS[name] / 255,
                answer="",
                media=coloured(BRIGHTNESS[name], n, name) if has_images else None,
            )
            for n, item in enumerate(own)
        )
        store.record(trial.id, split, Evaluation(scores=scores))
    if name == "bred":
        store.set_winner(MAIN, trial.id)


def brighter(pair: Pair) -> Verdict:
    return "left" if _brightness(pair.left) > _brightness(pair.right) else "right"


def redder(pair: Pair) -> Verdict:
    """Choose the image with more red than blue, whatever model drew it."""
    return "left" if _redness(pair.images["left"]) > _redness(pair.images["right"]) else "right"


def _redness(image: Media) -> float:
    red, _, blue = Image.open(io.BytesIO(image.read())).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    return red - blue


def _brightness(model: RatedModel) -> int:
    return BRIGHTNESS[model.name.replace("trial 5", "other")]


def as_choice(pair: Pair, verdict: Verdict, rater: str = "ann", split: Split = "validation") -> StoredChoice:
    return pair.judged(verdict, rater, split, 1.5)


def rate(
    run: Path, n: int, judge: Judge = brighter, rater: str = "ann", split: Split = "validation"
) -> list[Pair]:
    """Store n choices of a person; return the pairs that were shown."""
    shown: list[Pair] = []
    with RunStore.read(run) as store, ChoiceLog(run) as log:
        log._db.execute("PRAGMA synchronous = OFF")  # tests need not survive a power loss
        chooser = PairChooser(models=read_models(store, split), rater=rater)
        for _ in range(n):
            pair = chooser.next(of_split(log.choices(), split))
            if pair is None:
                break
            log.add(as_choice(pair, judge(pair), rater, split))
            shown.append(pair)
    return shown


def of_split(choices: Sequence[StoredChoice], split: Split) -> list[StoredChoice]:
    return [each for each in choices if each.split == split]

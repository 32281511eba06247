"""The live display of a run, on a terminal and elsewhere, and its estimate of the time left."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import pytest

from kingyo.cli.console import Console
from kingyo.cli.live_display import LiveDisplay
from kingyo.core.types import Answered, Evaluation, ItemScore, Split, Trial
from kingyo.runs.config import TRAINED, TUNED
from kingyo.runs.cost import Cost, CostPart
from kingyo.search.evolution import BASELINES, MAIN, Event
from kingyo.store import StoredTrial
from kingyo.views.run_progress import RunProgress

NAMES = ("base", "a", "日本語モデル", "uniform")
SECONDS = 0.1  # of an answer


class Clock:
    """Seconds that pass only when they are added."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def part(stage: Any, name: str, split: Split, models: int | None, items: int) -> CostPart:
    return CostPart(stage=stage, name=name, split=split, models=models, items=items)


COST = Cost(
    parts=(
        part("baselines", BASELINES, "fit", 4, 16),
        part("search", MAIN, "fit", 30, 16),
        part("controls", "random", "fit", 30, 16),
        part("controls", "grid", "fit", 27, 16),
        *(part("validation", name, "validation", 8, 40) for name in (MAIN, "random", "grid")),
        part("validation", BASELINES, "validation", 4, 40),
        *(part("test", name, "test", 1, 100) for name in (MAIN, "random", "grid")),
        part("test", BASELINES, "test", 4, 100),
    )
)
IDS = {(each.name, each.split): 1000 * index for index, each in enumerate(COST.parts)}


def evaluated(items: int) -> Evaluation:
    scores = tuple(ItemScore(str(item), 0.5, "") for item in range(items))
    return Evaluation(scores=scores, score_seconds=SECONDS * items)


def answered(of: CostPart, number: int, done: int, timed: int | None = None) -> Event:
    """Some items of a model are answered; ``timed`` of them in complete batches."""
    counts = Answered(done, done if timed is None else timed, of.items)
    return replace(scored(of, number, value=None, total=of.models), kind="answered", answered=counts)


def scored(
    of: CostPart, number: int, *, value: float | None, total: int | None, replayed: bool = False
) -> Event:
    """A model of a part that was scored on all items of it."""
    is_baseline = of.name == BASELINES
    return Event(
        kind="ended",
        search=of.name,
        split=of.split,
        done=number + 1,
        total=total,
        trial=StoredTrial(
            id=IDS[of.name, of.split] + number,
            search=of.name,
            batch=number // 6,
            name=NAMES[number] if is_baseline else None,
            asked=Trial(number=number, genome=()),
            recipe="{}",
            recipe_hash=str(number),
        ),
        evaluation=evaluated(of.items),
        value=value,
        replayed=replayed,
    )


def events_of(of: CostPart, clock: Clock, *, replayed: bool = False) -> Iterator[Event]:
    """Return all events of a part; searches report outcomes in groups of six."""
    assert of.models is not None
    yield Event(kind="phase", search=of.name, split=of.split, total=of.models)
    is_search = of.stage in ("search", "controls")
    for number in range(of.models):
        clock.now += 0.0 if replayed else SECONDS * of.items
        value = None if is_search else number / 8
        yield scored(of, number, value=value, total=of.models, replayed=replayed)
        if is_search and (number % 6 == 5 or number == of.models - 1):
            for number_of_event in range(number - number % 6, number + 1):
                yield Event(
                    kind="told",
                    search=of.name,
                    split="fit",
                    done=number_of_event + 1,
                    total=of.models,
                    value=number_of_event / 30,
                    is_estimate=True,
                )


def test_a_terminal_gets_a_line_for_each_part() -> None:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, width=80, height=40, force_terminal=True, color_system=None)
    with LiveDisplay(console=console) as display:
        display.expect(COST)
        for of in COST.parts:
            for event in events_of(of, clock):
                display.notify(event)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue()).replace("\r", "\n").split("\n")
    lines = [" ".join(re.sub("[━╸╺]", "", line).split()) for line in drawn]
    assert "12.5% a" in lines and "25.0% 日本語モデル" in lines
    expected = [
        "baselines 4 of 4 models, best 37.5%",
        "search 30 of 30 models, best ≈ 96.7%",
        "control random 30 of 30 models, best ≈ 96.7%",
        "control grid 27 of 27 models, best ≈ 86.7%",
        "validation 28 of 28 models, best 87.5%",
        "test 7 of 7 models, best 0.0%",
    ]
    assert [line for line in lines[-9:] if line in expected] == expected
    assert max(map(len, drawn)) <= 80


def test_a_file_is_not_a_terminal_even_with_forced_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    clock = Clock()
    with LiveDisplay() as display:
        display.expect(COST)
        for event in (*events_of(COST.parts[0], clock), *events_of(COST.parts[1], clock)):
            display.notify(event)
    stderr = capsys.readouterr().err
    assert "\x1b[" not in re.sub(r"\x1b\[[0-9;]*m", "", stderr), "nothing is drawn in place"
    assert "Search on fit: 30 models, up to 16 items each" in stderr
    assert re.search(r"30 of 30 models, best ≈ 96\.7%", stderr), stderr


def test_stored_parts_are_not_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    clock, (baselines, search) = Clock(), COST.parts[:2]
    with LiveDisplay() as display:
        display.expect(Cost(parts=COST.parts, stored=stored((baselines, 4), (search, 12))))
        for event in events_of(baselines, clock, replayed=True):
            display.notify(event)
        for event in events_of(search, clock):
            display.notify(replace(event, replayed=event.kind == "ended" and event.done <= 12))
    shown = capsys.readouterr().err
    assert "Baselines" not in shown and "base\n" not in shown
    assert "Search on fit: 30 models (12 stored), up to 16 items each" in shown


def first_model(display: LiveDisplay) -> None:
    """Answer half of the items of the first baseline."""
    baselines = COST.parts[0]
    display.expect(COST)
    display.notify(Event(kind="phase", search=BASELINES, split="fit", total=4))
    for done in range(9):
        display.notify(answered(baselines, 0, done))


def test_items_are_counted_within_a_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with LiveDisplay() as display:
        first_model(display)
    assert "items" not in capsys.readouterr().err.partition("\n")[2], "lines are sparse in a log"
    monkeypatch.setattr("kingyo.cli.live_display.SECONDS_PER_LINE", 0)
    with LiveDisplay() as display:
        first_model(display)
    assert re.search(r"\n  0 of 4 models, base: 8 of 16 items\n", capsys.readouterr().err)


def stored(*counts: tuple[CostPart, int]) -> dict[tuple[str, Split], dict[int, int]]:
    return {
        (of.name, of.split): {IDS[of.name, of.split] + number: of.items for number in range(n)}
        for of, n in counts
    }


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay(quiet=True) as display:
        display.expect(COST)
        for event in events_of(COST.parts[0], Clock()):
            display.notify(event)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_follows_from_the_time_per_answer() -> None:
    clock = Clock()
    progress = RunProgress(COST, clock=clock)
    clock.now += 60  # models load
    assert progress.seconds_left() is None, "nothing is measured yet"
    for event in chain(events_of(COST.parts[0], clock), islice(events_of(COST.parts[1], clock), 13)):
        progress.take(event)
    done = [len(part.scored) for (part,) in list(progress.rows().values())[:2]]
    answers = sum(each.answers or 0 for each in COST.parts) - 16 * sum(done)
    assert progress.seconds_left() == pytest.approx(answers * SECONDS)


def test_the_first_batch_shows_the_time_left() -> None:
    clock, baselines = Clock(), COST.parts[0]
    progress = RunProgress(COST, clock=clock)
    progress.take(Event(kind="phase", search=BASELINES, split="fit", total=4))
    clock.now += 60  # models load
    progress.take(answered(baselines, 0, 0))
    clock.now += 1
    progress.take(answered(baselines, 0, 5, timed=0))
    assert progress.seconds_left() is None, "answers that end early do not show how long the others take"
    clock.now += 3
    progress.take(answered(baselines, 0, 8))
    answers = sum(each.answers or 0 for each in COST.parts)
    assert progress.seconds_left() == pytest.approx(4 / 8 * (answers - 8))
    progress.take(scored(baselines, 0, value=0.5, total=4))


@pytest.mark.parametrize(("search", "says"), [(TRAINED, "training"), (TUNED, "training"), (MAIN, "learning")])
def test_what_is_trained_is_said(search: str, says: str) -> None:
    text = io.StringIO()
    console = Console(file=text, width=80, height=40, force_terminal=True, color_system=None)
    with LiveDisplay(console=console) as display:
        display.expect(Cost(parts=(part("controls", search, "fit", 3, 16),)))
        display.notify(Event(kind="phase", search=search, split="fit", total=3))
        display.notify(Event(kind="trained", search=search, split="fit", done=4, total=60))
    assert re.search(rf"{says}[ a-z]*: step 4 of 60", text.getvalue())


def test_what_was_stored_before_takes_no_time() -> None:
    clock, (baselines, search) = Clock(), COST.parts[:2]
    cost = Cost(parts=COST.parts[:2], stored=stored((baselines, 4), (search, 12)))
    progress = RunProgress(cost, clock=clock)
    for event in events_of(baselines, clock, replayed=True):
        progress.take(event)
    assert progress.seconds_left() is None, "no speed is known"
    for event in islice(events_of(search, clock), 28):
        progress.take(replace(event, replayed=event.kind == "ended" and event.done <= 12))
    (part,) = progress.rows()["search"]
    assert progress.seconds_left() == pytest.approx((30 - len(part.scored)) * 16 * SECONDS)


def test_a_budget_of_minutes() -> None:
    clock = Clock()
    search = CostPart(stage="search", name=MAIN, split="fit", models=None, items=16, seconds=60.0)
    progress = RunProgress(Cost(parts=(search,)), clock=clock)
    progress.take(Event(kind="phase", search=MAIN, split="fit"))
    for number in range(2):
        clock.now += 10
        progress.take(scored(COST.parts[1], number, value=None, total=None))
    assert progress.seconds_left() == pytest.approx(40)
    progress.take(Event(kind="phase", search=MAIN, split="validation", total=0))
    assert progress.seconds_left() == 0.0


def test_a_search_may_score_more_models_than_foreseen() -> None:
    clock, search = Clock(), part("search", MAIN, "fit", 2, 16)
    progress = RunProgress(Cost(parts=(search,)), clock=clock)
    progress.take(Event(kind="phase", search=MAIN, split="fit", total=2))
    for number in range(3):  # copied scores cost no items, so that a budget of items lasts for more models
        progress.take(scored(search, number, value=None, total=2))
    assert [part.models for part in progress.rows()["search"]] == [3] and progress.seconds_left() == 0

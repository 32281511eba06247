"""The live display of a run, as rich draws it at several widths."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice, pairwise, takewhile
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from kingyo.cli.live_display import LiveDisplay
from kingyo.cli.parts_table import PartsTable, row_name, time_left
from kingyo.dry_run import Cost, CostPart, Stage, TimeLeft
from kingyo.evolution import BASELINES, MAIN, Event
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, ItemScore, Split, Trial

WIDTHS = (60, 80, 120)
LONG = "a-parent-whose-name-is-longer-than-any-column-and-any-terminal-that-people-use-v0.3-instruct"
NAMES = ("base", LONG, "日本語モデル", "uniform")
SECONDS = 0.1  # of an answer


class Clock:
    """Seconds that pass only when they are added."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def part(stage: Stage, name: str, split: Split, models: int | None, items: int) -> CostPart:
    like = (MAIN,) if stage == "controls" else ()
    return CostPart(stage=stage, name=name, split=split, models=models, items=items, like=like)


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
        evaluation=Evaluation(scores=tuple(ItemScore(str(item), 0.5, "") for item in range(of.items))),
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
                    raw=0.5,
                    n_raw=16,
                )


def drawn_lines(table: PartsTable, width: int, height: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n").split("\n")


def check_columns(lines: list[str]) -> None:
    """Every cell ends where the word above it ends."""
    (at,) = [index for index, line in enumerate(lines) if line.split()[:1] == ["part"]]
    ends = [match.end() for match in re.finditer(r"\S+", lines[at])][1:]
    rows = list(takewhile(str.strip, lines[at + 1 :]))
    assert len(rows) == 7, lines
    for row in rows:
        assert re.match(r"[ ▸✓] (\w+( \w+)?) +\d+ of \d+", row), row
        assert "…" not in row
        for start, end in pairwise((0, *ends)):
            cell = row[start:end].ljust(end - start)
            assert not cell.strip() or not cell[-1].isspace(), f"{cell!r} of {row!r}"
        assert len(row) <= ends[-1]
    assert rows[-1].startswith("  total")


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_stay_in_line_from_the_first_event_to_the_last(width: int) -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    table = PartsTable(pace)
    assert drawn_lines(table, width) == ["Loading models…"]
    headers: set[str] = set()
    for of in COST.parts:
        for event in events_of(of, clock):
            pace.take(event)
            table.take(event)
            lines = drawn_lines(table, width)
            assert max(cell_len(line) for line in lines) <= width
            check_columns(lines)
            headers.add(next(line for line in lines if "models" in line))
    assert len(headers) == 1, "columns move"
    pace.finish()
    table.is_final = True
    lines = drawn_lines(table, width)
    check_columns(lines)
    assert [line[0] for line in lines[2:8]] == ["✓"] * 6
    assert lines[8].split()[:4] == ["total", "126", "of", "126"]


def test_a_search_may_score_more_models_than_foreseen() -> None:
    clock, search = Clock(), part("search", MAIN, "fit", 2, 16)
    pace = TimeLeft(Cost(parts=(search,)), clock)
    table = PartsTable(pace)
    pace.take(Event(kind="phase", search=MAIN, split="fit", total=2))
    for number in range(3):  # copied scores cost no items, so that a budget of items lasts for more models
        clock.now += 1
        pace.take(scored(search, number, value=None, total=2))
    lines = [" ".join(line.split()[1:6]) for line in drawn_lines(table, 80)]
    assert "search 3 of 3 16" in lines and pace.left(pace.parts()) == 0


def test_styles_are_readable_on_light_and_on_dark() -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    table = PartsTable(pace)
    for event in chain(events_of(COST.parts[0], clock), islice(events_of(COST.parts[1], clock), 13)):
        pace.take(event)
        table.take(event)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80, height=40)
    with console.capture() as captured:
        console.print(table)
    codes = {code for match in re.findall(r"\x1b\[([0-9;]*)m", captured.get()) for code in match.split(";")}
    assert codes == {"0", "1", "2", "32"}, "bold, dim and the terminal's own green"


@pytest.mark.parametrize("width", [20, 40, 59])
def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_number(width: int) -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    table = PartsTable(pace)
    for event in (*events_of(COST.parts[0], clock), *events_of(COST.parts[1], clock)):
        pace.take(event)
        table.take(event)
    lines = drawn_lines(table, width)
    assert max(cell_len(line) for line in lines) <= width
    if width >= 40:
        assert any(line.split()[-1:] == ["left"] for line in lines)
        assert not [line for line in lines if "…" in line]


def test_a_low_terminal_gets_the_bars_alone() -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    table = PartsTable(pace)
    for event in events_of(COST.parts[0], clock):
        pace.take(event)
        table.take(event)
    lines = drawn_lines(table, 80, height=12)
    assert [line.split()[0] for line in lines] == ["baselines", "total"]
    assert len(drawn_lines(table, 80, height=24)) > 8, "24 lines are enough"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_names_of_baselines_are_whole(tmp_path: Path, width: int, is_terminal: bool) -> None:
    text, clock = io.StringIO(), Clock()
    console = Console(
        file=text, width=width, height=40, force_terminal=is_terminal, color_system=None, highlight=False
    )
    with RunStore.create(tmp_path / "run") as store, LiveDisplay(store, console=console) as display:
        display.expect(COST)
        for of in COST.parts[:2]:
            for event in events_of(of, clock):
                display.notify(event)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue()).replace("\r", "").split("\n")
    joined = "".join(line.strip() for line in lines)
    for number, name in enumerate(NAMES):
        assert f"{100 * number / 8:.1f} %{name}" in joined.replace("%  ", "%")
    if is_terminal:
        assert max(cell_len(line) for line in lines) <= width


def test_a_file_is_not_a_terminal_even_with_forced_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    clock = Clock()
    with RunStore.create(tmp_path / "run") as store, LiveDisplay(store) as display:
        display.expect(COST)
        for event in (*events_of(COST.parts[0], clock), *events_of(COST.parts[1], clock)):
            display.notify(event)
    stderr = capsys.readouterr().err
    assert "\x1b[" not in re.sub(r"\x1b\[[0-9;]*m", "", stderr), "nothing is drawn in place"
    assert "Search on fit: 30 models, up to 16 items each" in stderr
    best = r"30 trials, best 96\.7 % \(estimated; 50\.0 % on 16 items\); about .+ left in total: "
    assert re.search(f"{best}controls ", " ".join(stderr.split())), stderr


def test_stored_parts_are_not_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock, (baselines, search) = Clock(), COST.parts[:2]
    stored = {
        (each.name, each.split): {IDS[each.name, each.split] + number: each.items for number in range(n)}
        for each, n in ((baselines, 4), (search, 12))
    }
    with RunStore.create(tmp_path / "run") as store, LiveDisplay(store) as display:
        display.expect(Cost(parts=COST.parts, stored=stored))
        for event in events_of(baselines, clock, replayed=True):
            display.notify(event)
        for event in events_of(search, clock):
            display.notify(replace(event, replayed=event.kind == "ended" and event.done <= 12))
    shown = capsys.readouterr().err
    assert "Baselines" not in shown and "base\n" not in shown
    assert "Search on fit: 30 models (12 stored), up to 16 items each" in shown


def test_quiet_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunStore.create(tmp_path / "run") as store, LiveDisplay(store, quiet=True) as display:
        display.expect(COST)
        for event in events_of(COST.parts[0], Clock()):
            display.notify(event)
    assert capsys.readouterr() == ("", "")


def test_time_left_of_the_whole_run_and_of_its_parts() -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    assert time_left(pace) == "", "nothing is measured yet"
    for event in chain(events_of(COST.parts[0], clock), islice(events_of(COST.parts[1], clock), 13)):
        pace.take(event)
    search, controls = pace.left(pace.parts("search")), pace.left(pace.parts("controls"))
    done = next(leg.done for leg in pace.parts("search"))
    assert search == pytest.approx((30 - done) * 16 * SECONDS)
    assert controls == pytest.approx((30 + 27) * 16 * SECONDS)
    assert pace.left(pace.parts("validation")) == pytest.approx(28 * 40 * SECONDS)
    assert pace.left(pace.parts("test")) == pytest.approx(7 * 100 * SECONDS)
    assert re.fullmatch(
        r"about 5 min left in total: search \d+ s, controls 91 s, validation 112 s, test 70 s",
        time_left(pace),
    )


def test_the_first_models_loading_time_is_not_extrapolated() -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    baselines = COST.parts[0]
    pace.take(Event(kind="phase", search=BASELINES, split="fit", total=4))
    clock.now += 60
    pace.take(scored(baselines, 0, value=None, total=4))
    assert time_left(pace) == "" and pace.left(pace.parts()) is None
    clock.now += 16 * SECONDS
    pace.take(scored(baselines, 1, value=None, total=4))
    assert pace.left(pace.parts("baselines")) is None, "it ended within a tenth of the first one's time"
    clock.now += 6
    pace.take(scored(baselines, 2, value=None, total=4))
    assert pace.left(pace.parts("baselines")) == pytest.approx(6)
    assert pace.left(pace.parts("search")) == pytest.approx(30 * 6)


def test_models_that_finish_together_do_not_skew_the_pace() -> None:
    clock = Clock()
    pace = TimeLeft(Cost(parts=COST.parts[:3]), clock)
    for event in events_of(COST.parts[0], clock):
        pace.take(event)
    search = COST.parts[1]
    pace.take(Event(kind="phase", search=MAIN, split="fit", total=30))
    before = pace.left(pace.parts("search"))
    assert before == pytest.approx(30 * 16 * SECONDS)
    clock.now += 2 * 16 * SECONDS
    for number in range(2):  # two workers, or two finalists of a race
        pace.take(scored(search, number, value=None, total=30))
    assert pace.left(pace.parts("search")) == pytest.approx(28 * 16 * SECONDS), "by the baselines' speed"
    clock.now += 2 * 16 * SECONDS
    for number in range(2, 4):
        pace.take(scored(search, number, value=None, total=30))
    assert pace.left(pace.parts("search")) == pytest.approx(26 * 16 * SECONDS)


def test_the_first_model_of_each_worker_tells_no_speed() -> None:
    clock = Clock()
    pace = TimeLeft(Cost(parts=COST.parts[:2], workers=4), clock)
    search = COST.parts[1]
    pace.take(Event(kind="phase", search=MAIN, split="fit", total=30))
    for number, seconds in enumerate((10, 11.5, 12, 12.5)):
        clock.now = seconds
        pace.take(scored(search, number, value=None, total=30))
        assert pace.left(pace.parts("search")) is None
    for number, seconds in enumerate((14.5, 16, 16.5, 16.5), start=4):
        clock.now = seconds
        pace.take(scored(search, number, value=None, total=30))
    assert pace.left(pace.parts("search")) == pytest.approx(22 * 1.0)


def test_a_control_takes_no_more_answers_than_its_search_did() -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    search = COST.parts[1]
    for event in islice(events_of(search, clock), 8):
        pace.take(event)
    pace.take(Event(kind="phase", search="random", split="fit", total=30))  # the search converged early
    done = next(leg.done for leg in pace.parts("search"))
    assert pace.left(pace.parts("controls")) == pytest.approx(2 * done * 16 * SECONDS)


def test_what_was_stored_before_takes_no_time() -> None:
    clock = Clock()
    pace = TimeLeft(COST, clock)
    table = PartsTable(pace)
    for event in events_of(COST.parts[0], clock, replayed=True):
        pace.take(event)
        table.take(event)
    assert pace.left(pace.parts("search")) is None, "no speed is known"
    assert 0 < pace.share() < 0.1
    assert "stored" in next(line for line in drawn_lines(table, 80) if "baselines" in line)


def test_what_was_stored_before_is_not_left() -> None:
    clock = Clock()
    done = [each for each in COST.parts if each.name in (BASELINES, MAIN)]
    stored = {
        (each.name, each.split): {IDS[each.name, each.split] + n: each.items for n in range(each.models or 0)}
        for each in done
    }
    pace = TimeLeft(Cost(parts=COST.parts, stored=stored), clock)
    answers = sum(each.answers or 0 for each in done)
    assert pace.share() == pytest.approx(answers / sum(each.answers or 0 for each in COST.parts))
    assert pace.left(pace.parts("baselines")) == 0.0
    for event in chain(
        events_of(COST.parts[1], clock, replayed=True), islice(events_of(COST.parts[2], clock), 13)
    ):
        pace.take(event)
    assert pace.left(pace.parts("search")) == 0.0
    assert pace.left(pace.parts("validation")) == pytest.approx(2 * 8 * 40 * SECONDS)
    assert pace.left(pace.parts("test")) == pytest.approx(2 * 100 * SECONDS)


def test_a_budget_of_minutes() -> None:
    clock = Clock()
    search = CostPart(stage="search", name=MAIN, split="fit", models=None, items=16, seconds=60.0)
    pace = TimeLeft(Cost(parts=(search, part("validation", MAIN, "validation", 8, 40))), clock)
    pace.take(Event(kind="phase", search=MAIN, split="fit"))
    clock.now += 20
    pace.take(scored(COST.parts[1], 0, value=None, total=None))
    assert pace.left(pace.parts("search")) == pytest.approx(40)
    pace.take(Event(kind="phase", search=MAIN, split="validation", total=8))
    assert pace.left(pace.parts("search")) == 0.0
    assert pace.parts("search")[0].total == 1


def test_parts_that_were_not_foreseen_are_added() -> None:
    pace = TimeLeft(Cost(parts=()))
    table = PartsTable(pace)
    pace.take(Event(kind="phase", search="trained", split="fit", total=3))
    assert any(line.split()[:3] == ["▸", "control", "trained"] for line in drawn_lines(table, 80))
    assert row_name("trained", "test") == "test"

"""The sections to check by: answers side by side, and what the whole run rests on."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from kingyo import __version__
from kingyo.report import wording
from kingyo.report.answers import SOLVED, Contrast, SideBySide
from kingyo.report.findings import BRED, Findings
from kingyo.report.history import History
from kingyo.report.markup import Html, element, join, table
from kingyo.report.sections import claim, note, section
from kingyo.results.trials import row_title
from kingyo.run.config import TRAINED
from kingyo.sizes import counted
from kingyo.stats import mean_name
from kingyo.types import ItemScore, Media

SHOWN = 12
MOST = 300
LARGEST = 1 << 15  # bytes of an image in the page

_KANA = re.compile(r"[\u3040-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")


def render_answers(found: Findings) -> Html | None:
    """Render the items that separate the bred model from its parents, with all answers."""
    if found.contrast is None:
        return None
    contrast = found.contrast
    texts = (row.item.prompt for row in (*contrast.gained, *contrast.lost))
    han = "ja" if any(_KANA.search(text) for text in texts) else "zh"
    return section(
        "answers",
        "What only the bred model solves",
        claim(_answers_claim(contrast)),
        _items(contrast.gained, han),
        element("h3", "What a parent solves and the bred model does not"),
        element("p", f"{len(contrast.lost)} of {counted(contrast.n, 'test item')}.")
        if contrast.lost
        else None,
        _items(contrast.lost, han) if contrast.lost else note("No such item on the test split."),
    )


def _answers_claim(contrast: Contrast) -> str:
    parents, verb = len(contrast.parents), "is" if len(contrast.gained) == 1 else "are"
    return (
        f"{len(contrast.gained)} of {counted(contrast.n, 'test item')} {verb} solved by the bred model "
        f"and by none of its {counted(parents, 'parent')}. Somebody who picked the best parent for every "
        f"single item would score {wording.score(contrast.best_of_parents)}, n = {contrast.n:,}."
    )


def _items(rows: Sequence[SideBySide], han: str) -> Html:
    cards = [_card(row, han) for row in rows[:MOST]]
    rest = cards[SHOWN:]
    left_out = len(rows) - len(cards)
    return join(
        [
            element("div", *cards[:SHOWN], class_="cards"),
            element(
                "details",
                element("summary", f"{counted(len(rest), 'more item')}"),
                element("div", *rest, class_="cards"),
                note(f"The run's database has {counted(left_out, 'further item')}.") if left_out else None,
            )
            if rest
            else None,
        ]
    )


def _card(row: SideBySide, han: str) -> Html:
    answers = (_answer(name, answer, han, row.limit) for name, answer in row.answers.items())
    return element(
        "article",
        element("p", row.item.prompt, **_text(row.item.prompt, han), class_="prompt")
        if row.item.prompt or not row.item.media
        else None,
        *map(_image, row.item.media),
        element(
            "p",
            element("span", "expected ", class_="small"),
            element("span", row.item.answer, **_text(row.item.answer, han)),
            class_="expected",
        ),
        element("dl", *answers, class_="answers"),
        class_="card",
        aria_label=f"item {row.item.id}",
    )


def _image(image: Media) -> Html:
    """The image in the page itself; of a large one, or one that is lost, the name of its file."""
    file = image.path
    if file is None or not file.is_file() or file.stat().st_size > LARGEST:
        return element("p", image.name, class_="small")
    content = b64encode(file.read_bytes()).decode()
    return element("img", src=f"data:{image.type};base64,{content}", alt=image.name, class_="item")


def _answer(name: str, answer: ItemScore, han: str, limit: int) -> Html:
    solved = answer.score >= SOLVED
    mark = "✓" if solved else "✗" if answer.score == 0 else f"{100 * answer.score:.0f}"
    verdict = "solved" if solved else "not solved"
    drawn = None if answer.media is None else _image(answer.media)
    said = answer.answer or (element("i", "(nothing)") if drawn is None else None)
    cut = element("span", f" … (cut at {counted(limit, 'token')})", class_="small") if answer.is_cut else None
    return element(
        "div",
        element(
            "dt",
            element("span", mark, class_="yes" if solved else "no", aria_label=verdict, role="img"),
            f" {name}",
        ),
        element("dd", said, cut, drawn, **_text(answer.answer, han)),
        class_="bred" if name == BRED else None,
    )


def _text(text: str, han: str) -> dict[str, str | bool | None]:
    """Direction and language of a text, so that browsers choose its glyphs and voices choose their tongue."""
    if _KANA.search(text):
        language = "ja"
    elif _HANGUL.search(text):
        language = "ko"
    else:
        language = han if _HAN.search(text) else ""
    return {"dir": "auto", "lang": language}


def render_basis(found: Findings) -> Html:
    """Render what the run rests on: data, seeds, cost, versions, sources."""
    config, facts, added = found.config, found.facts, found.summary.extensions
    near = found.summary.near_duplicates
    rows: list[tuple[str, str]] = [
        ("items", wording.listed([f"{n:,} {split}" for split, n in found.items.items()])),
        ("duplicates dropped", _number(facts.get("duplicates_dropped"))),
        *([("near-duplicates", str(near))] if near is not None and near.groups else []),
        ("seed", _number(config.get("seed", 0))),
        ("budget", "".join([_pairs(config.get("budget")), *(f", then {each}" for each in added)])),
        ("trials", "none yet" if found.main is None else _control(found.main)),
        *((f"trials, {wording.search(name)}", _control(history)) for name, history in found.controls.items()),
        *([] if found.summary.training is None else [(row_title(TRAINED), str(found.summary.training))]),
        ("item evaluations", f"{found.summary.item_evaluations:,}, all searches and splits"),
        ("scores copied", f"{found.summary.copied:,}, of trials with the same recipe"),
        ("working time", wording.duration(found.summary.seconds)),
        *_costs(found),
        ("search", _search(found)),
        ("intervals", _methods(found)),
        ("begun", _date(facts.get("created"))),
        ("versions", f"run by kingyo {facts.get('version')}, report by kingyo {__version__}"),
        ("folder", found.summary.folder),
        *(("note", each) for each in found.summary.notes),
    ]
    entries = (element("div", element("dt", name), element("dd", value)) for name, value in rows)
    return section(
        "basis", "What this rests on", element("dl", *entries, class_="facts"), _sources(found), _task(config)
    )


def _control(history: History) -> str:
    return f"{len(history.points):,}, of which {history.failures.total():,} failed ({history.strategy})"


def _costs(found: Findings) -> Iterable[tuple[str, str]]:
    histories = [each for each in (found.main, *found.controls.values()) if each is not None]
    build = sum(each.build_seconds for each in histories)
    score = sum(each.score_seconds for each in histories)
    if build + score > 0:
        share = wording.percent(build / (build + score))
        yield "merging", f"{wording.duration(build)}, {share} of the time spent on candidates"


def _search(found: Findings) -> str:
    if found.main is None:
        return "not begun"
    told = found.main.description
    if told.get("space") == "dataflow":
        return f"{told.get('strategy')}, paths through layers"
    return f"{told.get('strategy')}, method {told.get('method')}, groups {told.get('groups')}"


def _methods(found: Findings) -> str:
    names = {
        "wilson": "Wilson's for shares of right answers",
        "gaffke": "Gaffke's for other scores and their differences",
        "newcombe": "Newcombe's for differences",
        "mover": f"Zou & Donner's for the {mean_name(found.summary.weights.values())} of several tasks",
    }
    entries = [*found.summary.baselines.values(), *([found.child] if found.child else [])]
    used = {each.method for entry in entries for each in (entry.fit, entry.validation, entry.test) if each}
    used |= {each.difference.method for each in found.summary.comparisons}
    return f"95%: {wording.listed([text for name, text in names.items() if name in used])}" if used else "–"


def _sources(found: Findings) -> Html:
    sources = cast(Mapping[str, object], found.config.get("sources") or {})
    rows = [(name, str(reference)) for name, reference in sources.items()]
    base = found.config.get("base")
    rows = [*([("base", str(base))] if base else []), *rows]
    return join([element("h3", "Models"), table(("name", "reference"), rows, label="Models", numbers=False)])


def _task(config: Mapping[str, object]) -> Html:
    tasks = config.get("tasks")
    text = json.dumps(tasks or config.get("task"), ensure_ascii=False, indent=2)
    name = f"The {'tasks' if tasks else 'task'}, as stored"
    return element("details", element("summary", name), element("pre", text, tabindex="0"))


def render_failures(found: Findings) -> Html:
    """Render how often trials failed, and why."""
    histories = {"main": found.main} if found.main else {}
    rows = [
        (reason, name, f"{count:,}")
        for name, history in {**histories, **found.controls}.items()
        for reason, count in history.failures.most_common()
    ]
    if not rows:
        return section("failures", "Failures", note("No trial failed."))
    head = ("reason", "search", "trials")
    return section("failures", "Failures", table(head, rows, label="Failed trials by reason", numbers=False))


def _pairs(value: object) -> str:
    pairs = cast(Mapping[str, object], value or {})
    return ", ".join(f"{_number(each)} {name.replace('_', ' ')}" for name, each in pairs.items()) or "–"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else "–"


def _date(value: object) -> str:
    if not isinstance(value, int | float):
        return "–"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value))

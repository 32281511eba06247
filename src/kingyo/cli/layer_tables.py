"""What ``kingyo layers`` prints: matrices of what leaves against what enters, and what follows for paths."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, print_whole, say
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.compare.similarity import Layer, LayerSimilarity, Measure
    from kingyo.run.layer_similarity import SimilarityResult

NEAREST = 3
FARTHEST_STEP = 4
ENOUGH = 10
"""Tokens for each number of the stream's width, below which CKA looks larger than it is."""


def print_likeness(found: SimilarityResult) -> None:
    """Print what was measured to standard output."""
    from kingyo.compare import letter

    console = Console(highlight=False)
    alike = found.likeness
    for i, (name, reference) in enumerate(found.models.items()):
        known_as = escape(name) if name == reference else f"{escape(name)} ({escape(reference)})"
        say(console, f"[bold]{letter(i)}[/bold] = {known_as}, {counted(alike.n_layers[name], 'layer')}")
    say(
        console,
        f"Over {counted(alike.n_tokens, 'token')} of {counted(found.n_prompts, 'prompt')}, the first of each "
        "left out.",
    )
    if alike.n_tokens < ENOUGH * alike.width:
        say(console, f"These are few for a width of {alike.width}: with more, CKA would be lower.")
    say(console, "\nOf each matrix a row is what leaves a layer, a column what enters one: a jump of a path.")
    print_whole(console, _matrix(alike, "cosine", "Mean cosine"))
    print_whole(console, _matrix(alike, "cka", "Linear CKA"))
    say(console, "By step, the mean of such jumps: +1 goes on, 0 repeats a layer or its twin, -1 goes back.")
    print_whole(console, _steps(alike))
    say(console, "Where else a path may go on: the inputs that are most like what leaves a layer.")
    print_whole(console, _nearest(alike))


def _matrix(alike: LayerSimilarity, measure: Measure, title: str) -> Table:
    table = _table(title, "", *(_short(alike, each) for each in alike.layers))
    for left in alike.layers:
        cells = (_number(alike.jump(left, entered, measure)) for entered in alike.layers)
        table.add_row(_short(alike, left), *cells)
    return table


def _steps(alike: LayerSimilarity) -> Table:
    """Means over all jumps that go on by so many layers, within a model and between two."""
    table = _table(
        None,
        "step",
        "own cosine",
        "own CKA",
        "other cosine",
        "other CKA",
    )
    for step in range(-FARTHEST_STEP, FARTHEST_STEP + 1):
        cells = [
            _number(_mean(alike, measure, step, own=own))
            for own in (True, False)
            for measure in ("cosine", "cka")
        ]
        if any(cell != "–" for cell in cells):
            table.add_row(f"{step:+d}" if step else "0", *cells)
    return table


def _mean(alike: LayerSimilarity, measure: Measure, step: int, *, own: bool) -> float:
    told = [
        alike.jump(left, entered, measure)
        for left, entered in _pairs(alike)
        if entered[1] - left[1] == step and (left[0] == entered[0]) == own
    ]
    return sum(told) / len(told) if told else float("nan")


def _pairs(alike: LayerSimilarity) -> Iterator[tuple[Layer, Layer]]:
    for left in alike.layers:
        for entered in alike.layers:
            yield left, entered


def _nearest(alike: LayerSimilarity) -> Table:
    from kingyo.compare.similarity import nearest

    table = _table(None, "leaves", "cosine", "CKA")
    for left in alike.layers:
        cells = [
            "  ".join(
                f"{_short(alike, each)} {_number(alike.jump(left, each, measure))}"
                for each in nearest(alike, left, NEAREST, measure)
            )
            for measure in ("cosine", "cka")
        ]
        table.add_row(_short(alike, left), *cells)
    return table


def _short(alike: LayerSimilarity, layer: Layer) -> str:
    from kingyo.compare import letter

    return f"{letter(list(alike.n_layers).index(layer[0]))}.{layer[1]}"


def _table(title: str | None, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _number(value: float) -> str:
    """Two digits: .97, 1, -.12."""
    if isnan(value):
        return "–"
    text = f"{value:.2f}"
    return "1" if text == "1.00" else text.replace("0.", ".", 1)

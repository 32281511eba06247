"""Tables of ``kingyo layers``."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.compare.similarity import Layer, LayerSimilarity, Measure
    from kingyo.run.layer_similarity import SimilarityResult

NEAREST = 3
MIN_TOKENS = 10
"""Tokens per hidden dimension; with fewer, CKA is too large."""


def print_similarity(result: SimilarityResult) -> None:
    """Print similarities to standard output."""
    from kingyo.compare import letter

    console = Console(highlight=False)
    similarity = result.likeness
    for i, (name, reference) in enumerate(result.models.items()):
        title = escape(name) if name == reference else f"{escape(name)} ({escape(reference)})"
        print_text(
            console, f"[bold]{letter(i)}[/bold] = {title}, {counted(similarity.n_layers[name], 'layer')}"
        )
    print_text(
        console,
        f"Measured on {counted(similarity.n_tokens, 'token')} of {counted(result.n_prompts, 'prompt')}, "
        "without the first token of each.",
    )
    if similarity.n_tokens < MIN_TOKENS * similarity.width:
        print_text(
            console,
            f"CKA is too large with so few tokens for a hidden size of {similarity.width}; use more prompts.",
        )
    print_text(
        console,
        "\nRow: output of a layer. Column: input of a layer. Each cell is a possible jump of a layer path.",
    )
    print_table(console, _matrix(similarity, "cosine", "Mean cosine"))
    print_table(console, _matrix(similarity, "cka", "Linear CKA"))
    print_text(
        console, "Alternatives for the next layer: the inputs that are most similar to the output of a layer."
    )
    print_table(console, _nearest(similarity))


def _matrix(similarity: LayerSimilarity, measure: Measure, title: str) -> Table:
    table = plain_table("", *(_short(similarity, each) for each in similarity.layers), title=title, n_left=1)
    for left in similarity.layers:
        cells = (_number(similarity.jump(left, entered, measure)) for entered in similarity.layers)
        table.add_row(_short(similarity, left), *cells)
    return table


def _nearest(similarity: LayerSimilarity) -> Table:
    from kingyo.compare.similarity import nearest

    table = plain_table("output of", "cosine", "CKA", n_left=1)
    for left in similarity.layers:
        cells = [
            "  ".join(
                f"{_short(similarity, each)} {_number(similarity.jump(left, each, measure))}"
                for each in nearest(similarity, left, NEAREST, measure)
            )
            for measure in ("cosine", "cka")
        ]
        table.add_row(_short(similarity, left), *cells)
    return table


def _short(similarity: LayerSimilarity, layer: Layer) -> str:
    from kingyo.compare import letter

    return f"{letter(list(similarity.n_layers).index(layer[0]))}.{layer[1]}"


def _number(value: float) -> str:
    """Return a number with two digits: .97, 1, -.12."""
    if isnan(value):
        return "–"
    text = f"{value:.2f}"
    return "1" if text == "1.00" else text.replace("0.", ".", 1)

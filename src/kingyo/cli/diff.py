"""The commands that compare models: ``diff`` and ``layers``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.cli.console import Console, print_lines, print_rows
from kingyo.cli.options import Positive
from kingyo.cli.output import print_json
from kingyo.cli.progress import Counts
from kingyo.cli.run import interruptible
from kingyo.core.io.units import count_text, counted, percent

if TYPE_CHECKING:
    from kingyo.views.compare import CheckpointComparison, ComparisonSums


def diff(
    models: list[str],
    *,
    base: str | None = None,
    allow_pickle: bool = False,
    as_json: bool = False,
) -> None:
    """Compare models before a merge: how far apart their weights are, and whether their task vectors agree.

    Example: `kingyo diff model-a model-b --base base-model`

    Args:
        models (MODEL...): folders or Hub names; model+lora adds a LoRA.
        base: common base model; also compares task vectors.
    """
    from kingyo.merging.checkpoints.locate import open_together
    from kingyo.views.compare import compare

    named = open_together([*models, *([] if base is None else [base])], allow_pickle=allow_pickle)
    opened, done = [named[model] for model in models], 0
    n_parameters = min(each.n_parameters for each in opened)

    def advance(new: int) -> None:
        nonlocal done
        done += new
        progress.count("comparing", done, n_parameters)

    with Counts() as progress, interruptible("Interrupted; nothing was written."):
        comparison = compare(opened, None if base is None else named[base], advance)
    if as_json:
        print_json(comparison.record())
    else:
        _print_comparison(comparison)


def _print_comparison(comparison: CheckpointComparison) -> None:
    from kingyo.views.compare import letter

    console, base, total = Console(), comparison.base, comparison.total
    letters = [letter(i) for i in range(len(comparison.models))]
    for name, reference in zip(letters, comparison.models, strict=True):
        print_lines(console, f"{name} = {reference}")
    if base is not None:
        print_lines(console, f"δ = the change from the base, {base}")
        rows: list[list[str]] = []
        for i, name in enumerate(letters):
            shares = (total.change(i), total.unchanged(i), total.top_share(i))
            rows.append([name, f"{total.norm(i):.4g}", *map(_share, shares)])
        head = ("", "‖δ‖", "of ‖base‖", "unchanged", "top 10%")
        print_rows(console, head, rows, title="Task vectors", n_left=1)
    if len(letters) > 2:
        pairs = {
            f"{letter(i)}, {letter(j)}": _pair_cells(comparison, total, [(i, j)]) for i, j in total.pairs()
        }
        matrix = [[name, *cells.values()] for name, cells in pairs.items()]
        print_rows(console, ("pair", *next(iter(pairs.values()))), matrix, title="By pair", n_left=1)
    scale = "" if base is None else ", ‖δ‖ as a share of ‖base‖"
    means = "" if len(letters) < 3 else "; mean over pairs"
    groups = {"kind": {**comparison.kinds, "all": total}, "layer": comparison.layers}
    for what, group in groups.items():
        own = [
            (name.removeprefix("block."), count_text(sums.numbers), *_cells(comparison, sums).values())
            for name, sums in group.items()
        ]
        head = (what, "parameters", *_cells(comparison, total))
        print_rows(console, head, own, title=f"By {what}{scale}{means}", n_left=1)
    print_lines(console, *comparison.notes)


def _cells(comparison: CheckpointComparison, sums: ComparisonSums) -> dict[str, str]:
    """Return the cells of a group of tensors: heading -> cell. Cells about pairs are means over all pairs."""
    from kingyo.views.compare import letter

    of_pairs = _pair_cells(comparison, sums, list(sums.pairs()))
    if comparison.base is None:
        return of_pairs
    changes = {f"‖δ{letter(i)}‖": _share(sums.change(i)) for i in range(sums.n_models)}
    if sums.n_models == 1:
        return {**changes, "unchanged": _share(sums.unchanged(0)), "top 10%": _share(sums.top_share(0))}
    return {**changes, **of_pairs}


def _pair_cells(
    comparison: CheckpointComparison, sums: ComparisonSums, pairs: Sequence[tuple[int, int]]
) -> dict[str, str]:

    def mean(value: Callable[[int, int], float | None]) -> float | None:
        known = [each for each in (value(i, j) for i, j in pairs) if each is not None]
        return sum(known) / len(known) if known else None

    cosine = {"cosine": _number(mean(sums.cosine))}
    if comparison.base is None:
        return {**cosine, "equal": _share(mean(sums.equal_share))}
    return {**cosine, "opposed": _share(mean(sums.opposed))}


def _share(value: float | None) -> str:
    if value is None:
        return "–"
    return percent(value) if value >= 0.01 or value == 0 else percent(value, ".2g")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def layers(config: Path, *, items: Positive | None = None, as_json: bool = False) -> None:
    """Compare the layers of models: a layer can follow one whose output looks like its input.

    Example: `kingyo layers run.yaml`

    Args:
        config (RUN.yaml): the run whose sources are compared, on its fit items.
        items: most prompts. Default: all.
    """
    from kingyo.runs.config_file import load_config
    from kingyo.runs.layer_similarity import compare_layers
    from kingyo.views.compare import letter

    with redirect_stdout(sys.stderr):  # output of graders
        similarity = compare_layers(load_config(config), config.parent, items)
    if as_json:
        return print_json(similarity.to_json())
    console, places = Console(), list(enumerate(similarity.places))
    letters = {name: letter(i) for i, name in enumerate(similarity.n_layers)}
    for name, n in similarity.n_layers.items():
        print_lines(console, f"{letters[name]} = {name}, {counted(n, 'layer')}")
    size = f"{counted(similarity.n_tokens, 'token')} of {counted(similarity.n_prompts, 'prompt')}"
    print_lines(console, f"Mean cosine on {size}. Row: output of a layer. Column: input of a layer.")
    inputs = [(i, f"{letters[name]}.{k}") for i, (name, k) in places if k < similarity.n_layers[name]]
    rows = [
        [
            f"{letters[name]}.{k - 1}",
            *(f"{similarity.cosine[i, j]:.2f}".replace("nan", "–") for j, _ in inputs),
        ]
        for i, (name, k) in places
        if k
    ]
    return print_rows(console, ("", *(place for _, place in inputs)), rows, n_left=1)

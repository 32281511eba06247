"""A recipe's path for people: layers by the names of a run's models: a line, a picture in characters, data.

It reads the recipes of a store; it draws no chart and touches no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from kingyo.evolution import BASELINES, MAIN
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.recipe import Hop, Recipe, cumulative
from kingyo.store import RunStore

UNCHANGED, LARGER, SMALLER = "o", "^", "v"
"""Marks of a picture of characters, by the scale. They are as wide in every terminal, Japanese ones too."""
LEGEND = f"{UNCHANGED} scale 1, {LARGER} above, {SMALLER} below"
FOLDED = 3  # so many layers in a row that are not passed are one line of the picture
TICKS = 5  # hops between two numbers below the picture


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One hop.

    Attributes:
        source: the name of its model.
        layer, scale: as in the recipe.
        cumulative: product of the scales so far, its own among them.
        time: how often the layer has been passed by then, 1 the first time.
    """

    source: str
    layer: int
    scale: float
    cumulative: float
    time: int

    @property
    def written(self) -> str:
        """Its layer, such as ``ja 3``."""
        return f"{self.source} {self.layer}"


@dataclass(frozen=True, kw_only=True)
class NamedPath:
    """A path by the names of a run.

    Attributes:
        steps: its hops.
        embeddings, head: names of the models that give what comes before and behind the layers.
        layers: name -> how many layers it has, of all sources of the run and all models of the path.
    """

    steps: tuple[PathStep, ...]
    embeddings: str
    head: str
    layers: Mapping[str, int]

    @property
    def is_scaled(self) -> bool:
        """Whether any scale is other than 1."""
        return any(step.scale != 1 for step in self.steps)

    @property
    def ends(self) -> str:
        """Who gives what is no layer."""
        if self.embeddings == self.head:
            return f"embeddings, norm and head of {self.head}"
        return f"embeddings of {self.embeddings}, norm and head of {self.head}"

    @property
    def line(self) -> str:
        """The path in a line: ``ja 0-3 · math-en 2-3 (x0.84) · ja 5``.

        One number in brackets is the scale of each layer, several are the scales one by one.
        """
        return " · ".join(_run(run) for run in _runs(self.steps))

    def to_json(self) -> dict[str, object]:
        """The path as data."""
        return {
            "text": self.line,
            "embeddings": self.embeddings,
            "head": self.head,
            "layers": dict(self.layers),
            "hops": [
                {
                    "model": step.source,
                    "layer": step.layer,
                    "scale": step.scale,
                    "cumulative": step.cumulative,
                    "time": step.time,
                }
                for step in self.steps
            ],
        }


@dataclass(frozen=True, kw_only=True)
class RunLayers:
    """What the models of a run are called, and how many layers they have.

    Attributes:
        names: reference in recipes -> name.
        layers: name -> number of layers, where known.
    """

    names: Mapping[str, str]
    layers: Mapping[str, int]

    def name(self, reference: str) -> str:
        """Return a model's name; of one that the run does not name, the end of its reference."""
        return self.names.get(reference) or re.split(r"[/\\]", reference.rstrip("/\\"))[-1] or reference

    def read(self, recipe: Recipe) -> NamedPath | None:
        """Return the path of a recipe; None where it has none."""
        if not recipe.path:
            return None
        steps = tuple(self._steps(recipe.path))
        first, last = (recipe.base_model or hop.model for hop in (recipe.path[0], recipe.path[-1]))
        return NamedPath(
            steps=steps,
            embeddings=self.name(first),
            head=self.name(last),
            layers=with_passed_layers(self.layers, steps),
        )

    def _steps(self, path: Sequence[Hop]) -> Iterator[PathStep]:
        passed: dict[tuple[str, int], int] = {}
        for hop, product in zip(path, cumulative(path), strict=True):
            place = hop.model, hop.layer
            passed[place] = passed.get(place, 0) + 1
            yield PathStep(
                source=self.name(hop.model),
                layer=hop.layer,
                scale=hop.scale,
                cumulative=product,
                time=passed[place],
            )


def read_run_layers(store: RunStore) -> RunLayers:
    """Read what a run calls its models: by the parents that it compares with, models as they are."""
    names: dict[str, str] = {}
    found: dict[str, int] = {}
    for trial in store.trials(BASELINES):
        recipe = read_recipe(trial)
        if len(recipe.references) == 1 and not recipe.merges and trial.name is not None:
            names.setdefault(recipe.references[0], trial.name)
            if recipe.path:
                found[trial.name] = max(hop.layer for hop in recipe.path) + 1
    of_space = cast("Mapping[str, int]", store.searches().get(MAIN, {}).get("layers", {}))
    return RunLayers(names=names, layers={**found, **of_space})


def with_passed_layers(layers: Mapping[str, int], steps: Sequence[PathStep]) -> dict[str, int]:
    """Numbers of layers, at least those that are passed."""
    found = dict(layers)
    for step in steps:
        found[step.source] = max(found.get(step.source, 0), step.layer + 1)
    return found


def sketch(path: NamedPath, width: int) -> list[str] | None:
    """Draw a path with characters: a line per layer, the last on top as in a model, and a column per hop.

    Layers that are not passed share a line where there are several in a row.

    Args:
        path: what to draw.
        width: columns that there are.

    Returns:
        The lines; None where they would be wider.
    """
    rows = [row for source in path.layers for row in _rows(path, source)]
    margin = max(len(label) for label, _ in rows)
    if margin + 2 + len(path.steps) > width:
        return None
    pitch = 2 if margin + 2 + 2 * len(path.steps) <= width else 1
    drawn = [f"{label.rjust(margin)} |{_marks(path, source, pitch)}".rstrip() for label, source in rows]
    return [*drawn, f"{' ' * (margin + 2)}{_numbers(len(path.steps), pitch)}".rstrip()]


def _rows(path: NamedPath, source: str) -> Iterator[tuple[str, tuple[str, int] | None]]:
    """Label of each line of a source, and its layer; None for layers that are not passed."""
    passed = {step.layer for step in path.steps if step.source == source}
    name = source
    for is_passed, group in groupby(reversed(range(path.layers[source])), lambda number: number in passed):
        numbers = list(group)
        folds = not is_passed and len(numbers) >= FOLDED
        for number in [None] if folds else numbers:
            label = f"{numbers[-1]}-{numbers[0]}" if number is None else str(number)
            yield f"{name} {label}".strip(), None if number is None else (source, number)
            name = ""


def _marks(path: NamedPath, place: tuple[str, int] | None, pitch: int) -> str:
    marks = [_mark(step.scale) if (step.source, step.layer) == place else " " for step in path.steps]
    return "".join(mark.ljust(pitch) for mark in marks)


def _mark(scale: float) -> str:
    return UNCHANGED if scale == 1 else LARGER if scale > 1 else SMALLER


def _numbers(hops: int, pitch: int) -> str:
    """The number of the first hop and of every fifth, the last digit below its column."""
    line = [" "] * (hops * pitch)
    for number in (1, *range(TICKS, hops + 1, TICKS)):
        end = (number - 1) * pitch + 1
        line[end - len(str(number)) : end] = str(number)
    return "".join(line)


def _runs(steps: Sequence[PathStep]) -> list[list[PathStep]]:
    """Hops through layers of one source that follow one another there, too."""
    runs: list[list[PathStep]] = []
    for step in steps:
        last = runs[-1][-1] if runs else None
        if last is not None and (last.source, last.layer + 1) == (step.source, step.layer):
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _run(run: Sequence[PathStep]) -> str:
    first, last = run[0], run[-1]
    said = first.written if first is last else f"{first.written}-{last.layer}"
    scales = [step.scale for step in run]
    if all(scale == 1 for scale in scales):
        return said
    shown = scales[:1] if len(set(scales)) == 1 else scales
    return f"{said} ({', '.join(f'x{scale:.3g}' for scale in shown)})"

"""The layer path of a recipe as text and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import cast

from kingyo.core.io.units import counted
from kingyo.merging.recipe import Hop, Recipe, cumulative
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One hop.

    Attributes:
        source: the name of its model.
        layer, scale: as in the recipe.
        cumulative: product of the scales up to this hop.
        time: how often the path has used the layer, 1 the first time.
    """

    source: str
    layer: int
    scale: float
    cumulative: float
    time: int


@dataclass(frozen=True, kw_only=True)
class NamedPath:
    """A path with the model names of a run."""

    steps: tuple[PathStep, ...]
    embeddings: str
    head: str
    layers: Mapping[str, int]

    @property
    def ends(self) -> str:
        if self.embeddings == self.head:
            return f"embeddings, norm and head of {self.head}"
        return f"embeddings of {self.embeddings}, norm and head of {self.head}"

    @property
    def line(self) -> str:
        """Return the path in a line: ``ja 0-3 · math-en 2-3 (x0.84) · ja 5``.

        A single number in brackets is the scale of all layers before it; several are the scales of each.
        """
        return " · ".join(_run(run) for run in _runs(self.steps))

    def sentences(self, whose: str) -> tuple[str, str]:
        """Return how long the path is, and the path on a line of its own."""
        return f"Path of {whose}: {counted(len(self.steps), 'hop')}, {self.ends}", self.line

    def __str__(self) -> str:
        return f"{counted(len(self.steps), 'hop')}, {self.line}; {self.ends}"

    def to_json(self) -> dict[str, object]:
        return {
            "text": self.line,
            "embeddings": self.embeddings,
            "head": self.head,
            "layers": dict(self.layers),
            "hops": [
                {"model": source, "layer": layer, "scale": scale, "cumulative": product, "time": time}
                for source, layer, scale, product, time in map(astuple, self.steps)
            ],
        }


@dataclass(frozen=True, kw_only=True)
class RunLayers:
    """Names and numbers of layers of the models of a run."""

    names: Mapping[str, str]
    layers: Mapping[str, int]

    def name(self, reference: str) -> str:
        """Return a model's name in the run, or else the end of its reference."""
        return self.names.get(reference) or re.split(r"[/\\]", reference.rstrip("/\\"))[-1] or reference

    def read(self, recipe: Recipe) -> NamedPath | None:
        """Return the path of a recipe; None if it has none."""
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
        times: dict[tuple[str, int], int] = {}
        for hop, product in zip(path, cumulative(path), strict=True):
            place = hop.model, hop.layer
            times[place] = times.get(place, 0) + 1
            yield PathStep(
                source=self.name(hop.model),
                layer=hop.layer,
                scale=hop.scale,
                cumulative=product,
                time=times[place],
            )


def read_run_layers(store: RunStore) -> RunLayers:
    """Read the names and layers of a run's models from the baselines that are single models."""
    names: dict[str, str] = {}
    layers: dict[str, int] = {}
    for trial in store.trials(BASELINES):
        recipe = read_recipe(trial)
        if len(recipe.references) == 1 and not recipe.merges and trial.name is not None:
            names.setdefault(recipe.references[0], trial.name)
            if recipe.path:
                layers[trial.name] = max(hop.layer for hop in recipe.path) + 1
    of_space = cast("Mapping[str, int]", store.searches().get(MAIN, {}).get("layers", {}))
    return RunLayers(names=names, layers={**layers, **of_space})


def with_passed_layers(layers: Mapping[str, int], steps: Sequence[PathStep]) -> dict[str, int]:
    """Return the numbers of layers, raised to include the layers that a path uses."""
    numbers = dict(layers)
    for step in steps:
        numbers[step.source] = max(numbers.get(step.source, 0), step.layer + 1)
    return numbers


def _runs(steps: Sequence[PathStep]) -> list[list[PathStep]]:
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
    text = f"{first.source} {first.layer}{'' if first is last else f'-{last.layer}'}"
    scales = [step.scale for step in run]
    if all(scale == 1 for scale in scales):
        return text
    shown = scales[:1] if len(set(scales)) == 1 else scales
    return f"{text} ({', '.join(f'x{scale:.3g}' for scale in shown)})"

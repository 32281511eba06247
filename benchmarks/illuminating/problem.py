"""Merges of the zoo's models on three of its tasks: a genome in, a score per task out."""

from __future__ import annotations

from dataclasses import dataclass

from searching.zoo import Problem, Setting

from kingyo.core.types import Evaluation, Genome, Outcome, Split, Trial

Scores = tuple[float, ...]
"""The mean score on each task, in the order of ``TASKS``."""

FIT, TEST = 20, 20
TASKS: dict[str, tuple[object, int]] = {
    "ja-math": (["number", {"language": "ja"}], 24),
    "en-math": ("number", 24),
    "sums": ("number", 6),
}
"""Grader, and most tokens of an answer; all three are asked in the same words."""
SOURCES = ("ja", "math-en", "math-sym", "poem", "sort")
SETTINGS = {
    each.name: each
    for each in (
        Setting(name="one", sources=SOURCES, fit=FIT),
        Setting(name="block", sources=SOURCES, groups="block", fit=FIT),
        Setting(name="bands", sources=SOURCES, fit=FIT),
    )
}
"""One weight per source: 5 genes; one per source and block: 30; a weight and two gains per source: 15."""


@dataclass(kw_only=True)
class ThreeTasks(Problem):
    """Japanese and English word problems and bare sums; ``fit`` items are of each task."""

    def tested(self, genome: Genome) -> Scores:
        """The mean on each task over the test items; it costs nothing and no search looks at it."""
        return self._measured(self._evaluator(self.space.decode(genome), "test"), "test")

    def outcome(self, trial: Trial) -> Outcome:
        """What a strategy is told of a trial that was scored on fit."""
        evaluation = self.evaluate(self.space.decode(trial.genome), "fit", self._fit_items)
        found = self._measured(evaluation, "fit")
        return Outcome(trial=trial, items=evaluation.items, value=sum(found) / len(found), objectives=found)

    @property
    def _fit_items(self) -> list[str]:
        return [item.id for item in self.splits["fit"]]

    def _measured(self, evaluation: Evaluation, split: Split) -> Scores:
        assert evaluation.failure is None, evaluation.failure
        tasks = [item.task for item in self.splits[split]]
        own = {
            name: [each.score for each, task in zip(evaluation.scores, tasks, strict=True) if task == name]
            for name in TASKS
        }
        return tuple(sum(each) / len(each) for each in own.values())

    def _data(self) -> dict[str, object]:
        data = super()._data()
        task, data = data["task"], {key: value for key, value in data.items() if key != "task"}
        assert isinstance(task, dict), "the demo holds its task"
        tasks = {
            name: {
                **task,
                "name": name,
                "data": f"../../zoo/tasks/{name}.jsonl",
                "grader": grader,
                "max_new_tokens": tokens,
                "splits": {"fit": self.setting.fit, "validation": 1, "test": TEST, "seed": self.seed},
            }
            for name, (grader, tokens) in TASKS.items()
        }
        merge = data["merge"]
        assert isinstance(merge, dict), "the problem says how to merge"
        if self.setting.name == "bands":
            gain = {"from": 0.0, "to": 1.5, "start": 1.0}
            parameters = {**merge["parameters"], "top": gain, "middle": gain}
            merge = {**merge, "method": "singular_bands", "parameters": parameters}
        return {**data, "tasks": tasks, "merge": merge, "objectives": list(TASKS)}

"""Searches, trials, their evaluations in parts, item scores and outcomes: tables of the run database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from typing import Any

from kingyo.io.schema import parse_settings
from kingyo.store.items import keep_media, media_json, read_media
from kingyo.store.records import EvaluationRow, NewTrial, StoredOutcome, StoredTrial
from kingyo.store.transactions import OpenDatabase
from kingyo.types import Evaluation, Genome, ItemScore, Lesson, Split, Trial

OPENED = "opened"
"""Fact of a run: name of a user's file that a grader has read -> hash."""
LESSONS = "lessons"
"""Fact of a run: id of a trial that was learned -> its lesson."""


class TrialLog(OpenDatabase):
    """Write and read trials and their evaluations; each is scored on a split in one or several parts."""

    def add_search(self, name: str, description: Mapping[str, object]) -> None:
        """Store a new search with its description, such as strategy and axes."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO searches (name, position, description)"
                " VALUES (?, (SELECT COUNT(*) FROM searches), ?)",
                (name, json.dumps(description, ensure_ascii=False)),
            )

    def searches(self) -> dict[str, dict[str, object]]:
        """Return the descriptions of all searches by name, oldest first."""
        rows = self._db.execute("SELECT name, description FROM searches ORDER BY position")
        return {name: json.loads(text) for name, text in rows}

    def set_winner(self, search: str, trial: int) -> None:
        """Store the trial id of the winner of a search."""
        with self._transaction():
            self._db.execute("UPDATE searches SET winner = ? WHERE name = ?", (trial, search))

    def winner(self, search: str) -> StoredTrial | None:
        """Return the winner of a search, or None before it is picked."""
        row = self._db.execute("SELECT winner FROM searches WHERE name = ?", (search,)).fetchone()
        return None if row is None or row[0] is None else self.trial(row[0])

    def add_trials(
        self, search: str, batch: int, trials: Sequence[NewTrial], told: int = 0
    ) -> list[StoredTrial]:
        """Store the trials of one ask in one transaction."""
        now = time.time()
        with self._transaction():
            self._db.executemany(
                "INSERT INTO trials (search, number, batch, name, genome, parents, recipe, recipe_hash,"
                " asked_at, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(search, new.asked.number, batch, *_values(new), now, told) for new in trials],
            )
            self._keep_lessons(search, {new.asked.number: new.asked.lesson for new in trials})
        rows = self._db.execute(f"{_TRIAL} WHERE search = ? AND batch = ? ORDER BY id", (search, batch))
        return [_trial(row) for row in rows]

    def _keep_lessons(self, search: str, lessons: Mapping[int, Lesson | None]) -> None:
        new = {number: asdict(lesson) for number, lesson in lessons.items() if lesson is not None}
        if new:
            ids = "SELECT number, id FROM trials WHERE search = ?"
            by_id = {str(trial): new[n] for n, trial in self._db.execute(ids, (search,)) if n in new}
            values = (LESSONS, json.dumps({**self._lessons(), **by_id}))
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", values)

    def _lessons(self) -> dict[str, dict[str, Any]]:
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (LESSONS,)).fetchone()
        return {} if row is None else json.loads(row[0])

    def lessons(self, search: str) -> dict[int, Lesson]:
        """Return the lessons of the trials of a search that were learned, by the id of the trial."""
        stored = self._lessons()
        ids = self._db.execute("SELECT id FROM trials WHERE search = ? ORDER BY id", (search,))
        found = {trial: stored[str(trial)] for (trial,) in (ids if stored else ()) if str(trial) in stored}
        return {trial: parse_settings(Lesson, each, f"fact '{LESSONS}'") for trial, each in found.items()}

    def trials(self, search: str | None = None) -> list[StoredTrial]:
        """Return the trials of one search, or of all, in the order of asking."""
        rows = self._db.execute(f"{_TRIAL} WHERE ?1 IS NULL OR search = ?1 ORDER BY id", (search,))
        return [_trial(row) for row in rows]

    def trial(self, trial: int) -> StoredTrial:
        """Return one trial by its id."""
        return _trial(self._db.execute(f"{_TRIAL} WHERE id = ?", (trial,)).fetchone())

    def record(self, trial: int, split: Split, evaluation: Evaluation, n_items: int | None = None) -> None:
        """Store one part of the evaluation of a trial on a split, in one transaction."""
        keep_media((each.media for each in evaluation.scores if each.media is not None), self.folder)
        now = time.time()
        tried = len(evaluation.scores) if n_items is None else n_items
        with self._transaction():
            part = self._db.execute(
                "SELECT COUNT(*) FROM parts WHERE trial = ? AND split = ?", (trial, split)
            ).fetchone()[0]
            cost = (evaluation.build_seconds, evaluation.score_seconds, now, evaluation.copied_from)
            self._db.execute(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (trial, split, part, tried, evaluation.failure, *cost),
            )
            self._db.executemany(
                "INSERT INTO scores (trial, split, part, item, score, answer, is_cut, media)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(trial, split, part, *each[:-1], media_json(each.media)) for each in evaluation.scores],
            )
            self._db.execute("UPDATE sessions SET seen_at = ? WHERE id = ?", (now, self._session))
            self._keep_files(dict(evaluation.files))

    def _keep_files(self, files: Mapping[str, str]) -> None:
        """Store files that graders have read: the first hash of each, empty once they have written it."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (OPENED,)).fetchone()
        known: dict[str, str] = {} if row is None else json.loads(row[0])
        written = {name: value for name, value in files.items() if not value}
        stored = {**files, **known, **written}
        if stored != known:
            values = (OPENED, json.dumps(stored))
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", values)

    def evaluation(self, trial: int, split: Split) -> Evaluation | None:
        """Return all parts of an evaluation together, in the order of the items; None without any.

        If one part failed, the result is a failure without scores.
        """
        parts = self._db.execute(
            "SELECT failure, build_seconds, score_seconds, copied_from FROM parts"
            " WHERE trial = ? AND split = ? ORDER BY part",
            (trial, split),
        ).fetchall()
        if not parts:
            return None
        failure = next((part[0] for part in parts if part[0] is not None), None)
        sources = {part[3] for part in parts}
        rows = self._db.execute(
            "SELECT s.item, s.score, s.answer, s.is_cut, s.media FROM scores s JOIN items i ON i.id = s.item"
            " WHERE s.trial = ? AND s.split = ? ORDER BY i.position",
            (trial, split),
        )
        scores = [
            ItemScore(item, score, answer, bool(is_cut), read_media(media, self.folder))
            for item, score, answer, is_cut, media in rows
        ]
        return Evaluation(
            scores=tuple(scores) if failure is None else (),
            failure=failure,
            build_seconds=sum(part[1] for part in parts),
            score_seconds=sum(part[2] for part in parts),
            copied_from=parts[0][3] if len(sources) == 1 else None,
        )

    def same_recipe(self, recipe_hash: str, split: Split, but: int) -> list[int]:
        """Return the ids of other trials with this recipe that were scored on this split without failure."""
        rows = self._db.execute(
            "SELECT DISTINCT t.id FROM trials t JOIN parts p ON p.trial = t.id"
            " WHERE t.recipe_hash = ? AND p.split = ? AND t.id != ? AND NOT EXISTS"
            " (SELECT 1 FROM parts f WHERE f.trial = t.id AND f.split = p.split AND f.failure IS NOT NULL)"
            " ORDER BY t.id",
            (recipe_hash, split, but),
        )
        return [row[0] for row in rows]

    def scores(
        self, search: str, split: Split, ids: tuple[int, int] | None = None
    ) -> dict[int, dict[str, float]]:
        """Return the item scores of a search on a split: trial id -> item -> score."""
        scores: dict[int, dict[str, float]] = {}
        first, last = ids or (0, 2**63 - 1)
        rows = self._db.execute(
            "SELECT s.trial, s.item, s.score FROM scores s JOIN trials t ON t.id = s.trial"
            " WHERE t.search = ? AND s.split = ? AND s.trial BETWEEN ? AND ? ORDER BY s.trial",
            (search, split, first, last),
        )
        for trial, group in groupby(rows, key=itemgetter(0)):
            scores[trial] = {item: score for _, item, score in group}
        return scores

    def score_ranges(self, searches: Sequence[str], split: Split) -> dict[str, tuple[float, float, int]]:
        """Return lowest score, highest score and number of scores of each scored item."""
        marks = ", ".join("?" for _ in searches)
        rows = self._db.execute(
            "SELECT s.item, MIN(s.score), MAX(s.score), COUNT(*) FROM scores s"
            f" JOIN trials t ON t.id = s.trial WHERE s.split = ? AND t.search IN ({marks}) GROUP BY s.item",
            (split, *searches),
        )
        return {item: (low, high, n) for item, low, high, n in rows}

    def scores_of(self, trial: int, split: Split) -> dict[str, float]:
        """Return the item scores of a trial on a split, also if a later part failed: item -> score."""
        rows = self._db.execute(
            "SELECT item, score FROM scores WHERE trial = ? AND split = ?", (trial, split)
        )
        return dict(rows.fetchall())

    def right_answers(self, searches: Sequence[str], split: Split, last: int) -> dict[str, list[str]]:
        """Return the distinct answers of each item with a score of 1, most frequent first."""
        marks = ", ".join("?" for _ in searches)
        rows = self._db.execute(
            "SELECT s.item, s.answer FROM scores s JOIN trials t ON t.id = s.trial"
            f" WHERE s.split = ? AND s.score = 1 AND t.id <= ? AND t.search IN ({marks})"
            " GROUP BY s.item, s.answer ORDER BY s.item, COUNT(*) DESC, MIN(s.trial)",
            (split, last, *searches),
        )
        answers: dict[str, list[str]] = {}
        for item, answer in rows:
            answers.setdefault(item, []).append(answer)
        return answers

    def costs(self, search: str, split: Split, batch: int | None = None) -> dict[int, tuple[int, float]]:
        """Return the cost of each trial of a search, or of one batch, on a split.

        Returns:
            Trial id -> number of items tried and seconds; on fit, lessons count as well. Copies of another
            trial cost nothing; those from another run count, so that searches of equal cost do not depend on
            other runs.
        """
        condition = "" if batch is None else " AND t.batch = ?3"
        rows = self._db.execute(
            "SELECT p.trial,"
            " SUM(CASE WHEN COALESCE(p.copied_from, p.trial) = p.trial THEN p.n_items ELSE 0 END),"
            " SUM(p.build_seconds + p.score_seconds) FROM trials t JOIN parts p ON p.trial = t.id"
            f" WHERE t.search = ?1 AND p.split = ?2{condition} GROUP BY p.trial",
            (search, split) if batch is None else (search, split, batch),
        )
        costs = {trial: (int(items), float(seconds)) for trial, items, seconds in rows}
        for trial, lesson in (self.lessons(search) if split == "fit" else {}).items():
            if trial in costs:
                items, seconds = costs[trial]
                costs[trial] = items + lesson.items, seconds + lesson.seconds
        return costs

    def add_outcomes(self, outcomes: Iterable[StoredOutcome]) -> None:
        """Store outcomes in one transaction, before the strategy gets them."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO outcomes (trial, failure, value, objectives, is_partial) VALUES (?, ?, ?, ?, ?)",
                [(o.trial, o.failure, o.value, json.dumps(o.objectives), o.is_partial) for o in outcomes],
            )

    def outcomes(self, search: str) -> list[StoredOutcome]:
        """Return the outcomes that the strategy of a search got, in that order."""
        rows = self._db.execute(
            "SELECT o.trial, o.failure, o.value, o.objectives, o.is_partial FROM outcomes o"
            " JOIN trials t ON t.id = o.trial WHERE t.search = ? ORDER BY o.id",
            (search,),
        )
        return [
            StoredOutcome(
                trial=trial,
                failure=failure,
                value=value,
                objectives=tuple(json.loads(objectives)),
                is_partial=bool(is_partial),
            )
            for trial, failure, value, objectives, is_partial in rows
        ]

    def item_evaluations(self, search: str | None = None, split: Split | None = None) -> int:
        """Return the number of graded answers, without copies; by default of all searches on all splits."""
        where = "(?1 IS NULL OR t.search = ?1) AND (?2 IS NULL OR p.split = ?2)"
        return self._count_scores(f"p.copied_from IS NULL AND {where}", (search, split))

    def copied_scores(self) -> int:
        """Return the number of item scores that were copied from a trial with the same recipe."""
        return self._count_scores("p.copied_from IS NOT NULL")

    def copied_from_elsewhere(self) -> int:
        """Return the number of item scores from another run, see ``types.Evaluation.copied_from``."""
        return self._count_scores("p.copied_from = p.trial")

    def _count_scores(self, condition: str, values: Sequence[str | None] = ()) -> int:
        row = self._db.execute(
            "SELECT COUNT(*) FROM scores s JOIN parts p"
            " ON p.trial = s.trial AND p.split = s.split AND p.part = s.part"
            f" JOIN trials t ON t.id = p.trial WHERE {condition}",
            values,
        ).fetchone()
        return int(row[0])

    def summaries(self, split: Split) -> list[EvaluationRow]:
        """Return one row per evaluation on a split, in the order of asking."""
        rows = self._db.execute(
            "SELECT p.trial, t.search, p.failure, p.build_seconds, p.score_seconds, p.ended_at,"
            " CASE WHEN p.origins = 1 THEN p.copied_from END, COUNT(s.score),"
            " CASE WHEN p.failure IS NULL THEN AVG(s.score) END,"
            " CASE WHEN p.failure IS NULL THEN COALESCE(o.value, AVG(s.score)) END,"
            " COALESCE(o.is_partial, 0)"
            " FROM (SELECT trial, split, MAX(failure) AS failure, SUM(build_seconds) AS build_seconds,"
            "  SUM(score_seconds) AS score_seconds, MAX(ended_at) AS ended_at,"
            "  MIN(copied_from) AS copied_from, COUNT(copied_from) = COUNT(*) AS origins"
            "  FROM parts WHERE split = ?1 GROUP BY trial) p"
            " JOIN trials t ON t.id = p.trial"
            " LEFT JOIN outcomes o ON o.trial = p.trial AND ?1 = 'fit'"
            " LEFT JOIN scores s ON s.trial = p.trial AND s.split = p.split"
            " GROUP BY p.trial ORDER BY p.trial",
            (split,),
        )
        return [
            EvaluationRow(
                trial=row[0],
                search=row[1],
                failure=row[2],
                build_seconds=row[3],
                score_seconds=row[4],
                ended_at=row[5],
                copied_from=row[6],
                n=row[7],
                mean=row[8],
                value=row[9],
                is_partial=bool(row[10]),
            )
            for row in rows
        ]


_TRIAL = "SELECT id, search, batch, name, number, genome, parents, recipe, recipe_hash, told FROM trials"


def _values(new: NewTrial) -> tuple[str | None, str, str, str, str]:
    genome, parents = json.dumps(new.asked.genome), json.dumps(new.asked.parents)
    return new.name, genome, parents, new.recipe, new.recipe_hash


def _trial(row: tuple[int, str, int, str | None, int, str, str, str, str, int]) -> StoredTrial:
    genome: Genome = tuple(map(float, json.loads(row[5])))
    return StoredTrial(
        id=row[0],
        search=row[1],
        batch=row[2],
        name=row[3],
        asked=Trial(number=row[4], genome=genome, parents=tuple(json.loads(row[6]))),
        recipe=row[7],
        recipe_hash=row[8],
        told=row[9],
    )

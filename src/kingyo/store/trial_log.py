"""The log of a run: facts, trials, scores and outcomes; items and images as JSON and files named by hash."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

from pydantic import TypeAdapter

from kingyo.core.io.files import write_bytes
from kingyo.core.types import MEDIA, Evaluation, Item, ItemScore, Lesson, Media, Outcome, Split, Trial
from kingyo.errors import KingyoError
from kingyo.store.database import Database

_ITEM = TypeAdapter(Item)


def item_json(item: Item) -> str:
    """Return an item as JSON, with hashes and types of its media; without media and seed if it has none."""
    media = {"__all__": {"path", "content"}} if item.media else True
    excluded: dict[str, object] = {"media": media, "where": True}
    if item.seed is None:
        excluded["seed"] = True
    if not item.group:
        excluded["group"] = True
    return _ITEM.dump_json(item, exclude=cast("set[str]", excluded)).decode()


def read_item(content: str, folder: Path) -> Item:
    """Return the item that ``item_json`` wrote; its media are in the run folder."""
    item = _ITEM.validate_json(content)
    if not item.media:
        return item
    return replace(item, media=tuple(_in_run_folder(media, folder) for media in item.media))


_MEDIA = TypeAdapter(Media)


def media_json(media: Media | None) -> str | None:
    """Return media as JSON without their content."""
    return None if media is None else _MEDIA.dump_json(media, exclude={"path", "content"}).decode()


def read_media(text: str | None, run: Path) -> Media | None:
    """Return the media that ``media_json`` wrote, with their path."""
    return None if text is None else _in_run_folder(_MEDIA.validate_json(text), run)


def _in_run_folder(media: Media, run: Path) -> Media:
    return replace(media, path=run / MEDIA / media.name, content=None)


def keep_media(media: Iterable[Media], run: Path) -> dict[Media, Media]:
    """Write each file once into a run folder; a file is complete or missing. Return the media there."""
    kept: dict[Media, Media] = {}
    for image in dict.fromkeys(media):
        kept[image] = _in_run_folder(image, run)
        path = run / MEDIA / image.name
        if path.is_file():
            continue
        content = image.read()
        try:
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, content)
        except OSError as error:
            remedy = "Make room on the disk, or choose another folder with --run."
            raise KingyoError(str(path), "a file that can be written", str(error.strerror), remedy) from error
    return kept


T = TypeVar("T")


class Fact(str, Generic[T]):
    """The key of a fact of a run, whose JSON has the form of a type. Runs without it have a default, or None.

    Example:
        >>> AGES = Fact("ages", dict[str, int], {})
        >>> AGES.read({"Ada": 36})
        {'Ada': 36}
    """

    @overload
    def __new__(cls, key: str, kind: type[T]) -> Fact[T | None]: ...
    @overload
    def __new__(cls, key: str, kind: type[T], default: T) -> Fact[T]: ...
    def __new__(cls, key: str, kind: type[Any], default: Any = None) -> Fact[Any]:
        fact = super().__new__(cls, key)
        fact._kind, fact.default = kind, default
        return fact

    _kind: type[T]
    default: T

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self._kind)

    def read(self, value: object) -> T:
        return self.default if value is None else self._adapter.validate_python(value)

    def write(self, value: T) -> object:
        return self._adapter.dump_python(value, mode="json", exclude_unset=True)


CONFIG = Fact("config", dict[str, Any], {})
"""The run.yaml, without defaults."""
NOTES = Fact("notes", tuple[str, ...], ())
"""Settings that look like mistakes, and what happened to the data."""
WARNINGS = Fact("warnings", tuple[str, ...], ())
"""Settings that probably cost scores."""
OPENED = Fact("opened", dict[str, str], {})
"""Name of a user's file that was read -> hash; empty once it was also written."""
LESSONS = Fact("lessons", dict[int, Lesson], {})
"""Id of a trial that was learned -> its lesson."""


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial and its recipe; ``add_trials`` gives it id, search and batch. Baselines have names."""

    asked: Trial
    recipe: str
    recipe_hash: str
    name: str | None = None
    id: int = 0
    search: str = ""
    batch: int = 0
    told: int = 0


class EvaluationRow(NamedTuple):
    """Totals of one evaluation."""

    trial: int
    search: str
    failure: str | None
    build_seconds: float
    score_seconds: float
    ended_at: float
    copied_from: int | None
    n: int
    mean: float | None
    value: float | None
    is_partial: bool


class TrialLog(Database):
    """Facts of a run, and its trials; each is scored on a split in one or several parts."""

    session: int | None = None

    @overload
    def fact(self, key: Fact[T]) -> T: ...
    @overload
    def fact(self, key: str) -> object: ...
    def fact(self, key: str) -> object:
        """Return the value under a key; plain keys have JSON, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (str(key),)).fetchone()
        value: object = None if row is None else json.loads(row[0])
        return cast("Fact[object]", key).read(value) if isinstance(key, Fact) else value

    def _write_facts(self, facts: Mapping[str, object]) -> None:
        rows = [(str(key), json.dumps(_as_json(key, value))) for key, value in facts.items()]
        self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def add_search(self, name: str, description: Mapping[str, object]) -> None:
        """Store a new search with its description, such as strategy and axes."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO searches (name, position, description)"
                " VALUES (?, (SELECT COUNT(*) FROM searches), ?)",
                (name, json.dumps(description, ensure_ascii=False)),
            )

    def searches(self) -> dict[str, dict[str, object]]:
        rows = self._db.execute("SELECT name, description FROM searches ORDER BY position")
        return {name: json.loads(text) for name, text in rows}

    def set_winner(self, search: str, trial: int) -> None:
        with self._transaction():
            self._db.execute("UPDATE searches SET winner = ? WHERE name = ?", (trial, search))

    def winner(self, search: str) -> StoredTrial | None:
        """Return the winner of a search, or None before it is picked."""
        row = self._db.execute("SELECT winner FROM searches WHERE name = ?", (search,)).fetchone()
        return None if row is None or row[0] is None else self.trial(row[0])

    def add_trials(
        self, search: str, batch: int, trials: Sequence[StoredTrial], told: int = 0
    ) -> list[StoredTrial]:
        now, by_number = time.time(), {new.asked.number: new.asked for new in trials}
        genomes = [(json.dumps(new.asked.genome), json.dumps(new.asked.parents)) for new in trials]
        rows = [
            (search, new.asked.number, batch, new.name, *genome, new.recipe, new.recipe_hash, now, told)
            for new, genome in zip(trials, genomes, strict=True)
        ]
        with self._transaction():
            self._db.executemany(
                "INSERT INTO trials (search, number, batch, name, genome, parents, recipe, recipe_hash,"
                " asked_at, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            stored = self._trials("WHERE search = ? AND batch = ? ORDER BY id", search, batch)
            asked = ((each.id, by_number.get(each.asked.number)) for each in stored)
            if lessons := {id: each.lesson for id, each in asked if each and each.lesson}:
                self._write_facts({LESSONS: {**self.fact(LESSONS), **lessons}})
        return stored

    def lessons(self, search: str) -> dict[int, Lesson]:
        """Return the lessons of the trials of a search that were learned, by the id of the trial."""
        rows = self._db.execute("SELECT id FROM trials WHERE search = ?", (search,))
        stored = self.fact(LESSONS)
        return {trial: stored[trial] for (trial,) in rows if trial in stored}

    def trials(self, search: str | None = None) -> list[StoredTrial]:
        return self._trials("WHERE ?1 IS NULL OR search = ?1 ORDER BY id", search)

    def trial(self, trial: int) -> StoredTrial:
        return self._trials("WHERE id = ?", trial)[0]

    def _trials(self, where: str, *values: object) -> list[StoredTrial]:
        rows = self._db.execute(
            "SELECT id, search, batch, name, recipe, recipe_hash, told, number, genome, parents FROM trials"
            f" {where}",
            values,
        )
        names = ("id", "search", "batch", "name", "recipe", "recipe_hash", "told")
        return [
            StoredTrial(
                **dict(zip(names, row, strict=True)),
                asked=_read_trial(number, genome, parents),
            )
            for *row, number, genome, parents in rows
        ]

    def record(
        self, trial: int, split: Split, evaluation: Evaluation, n_items: int | None = None
    ) -> Evaluation:
        """Store one part of the evaluation of a trial on a split, in one transaction.

        Returns:
            The same part, with images that are read from the run folder.
        """
        kept = keep_media([each.media for each in evaluation.scores if each.media is not None], self.folder)
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
            self._db.execute("UPDATE sessions SET seen_at = ? WHERE id = ?", (now, self.session))
            # the first hash of each file counts, and an empty one for good
            files, known = dict(evaluation.files), self.fact(OPENED)
            stored = {**files, **known, **{name: "" for name, value in files.items() if not value}}
            if stored != known:
                self._write_facts({OPENED: stored})
        if not kept:
            return evaluation
        scores = [each._replace(media=each.media and kept[each.media]) for each in evaluation.scores]
        return replace(evaluation, scores=tuple(scores))

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
        first, last = ids or (0, 2**63 - 1)
        rows = self._db.execute(
            "SELECT s.trial, s.item, s.score FROM scores s JOIN trials t ON t.id = s.trial"
            " WHERE t.search = ? AND s.split = ? AND s.trial BETWEEN ? AND ? ORDER BY s.trial",
            (search, split, first, last),
        )
        groups = groupby(rows, key=itemgetter(0))
        return {trial: {item: score for _, item, score in group} for trial, group in groups}

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

    def add_outcomes(self, outcomes: Mapping[int, Outcome]) -> None:
        """Store outcomes by the ids of their trials in one transaction, before the strategy gets them."""
        rows = [
            (trial, each.failure, each.value, json.dumps(each.objectives), each.is_partial)
            for trial, each in outcomes.items()
        ]
        with self._transaction():
            self._db.executemany(
                "INSERT INTO outcomes (trial, failure, value, objectives, is_partial) VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def outcomes(self, search: str) -> dict[int, Outcome]:
        """Return the outcomes that the strategy of a search got, in that order, by the ids of their trials.

        Item scores are not read; see ``scores``.
        """
        rows = self._db.execute(
            "SELECT o.trial, t.number, t.genome, t.parents, o.failure, o.value, o.objectives, o.is_partial"
            " FROM outcomes o JOIN trials t ON t.id = o.trial WHERE t.search = ? ORDER BY o.id",
            (search,),
        )
        return {
            trial: Outcome(
                trial=_read_trial(number, genome, parents),
                failure=failure,
                value=value,
                objectives=tuple(json.loads(objectives)),
                is_partial=bool(is_partial),
            )
            for trial, number, genome, parents, failure, value, objectives, is_partial in rows
        }

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
        return [EvaluationRow(*row, is_partial=bool(is_partial)) for *row, is_partial in rows]


def _as_json(key: str, value: object) -> object:
    return cast("Fact[object]", key).write(value) if isinstance(key, Fact) and value is not None else value


def _read_trial(number: int, genome: str, parents: str) -> Trial:
    return Trial(
        number=number, genome=tuple(map(float, json.loads(genome))), parents=tuple(json.loads(parents))
    )

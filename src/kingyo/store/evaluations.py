"""What was scored, and what strategies were told of it: the rows of ``parts``, ``scores`` and ``outcomes``.

A trial is scored on a split at once or in parts, each of some of the items.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO

from kingyo.store.database import numbers
from kingyo.store.lock import note_writes
from kingyo.store.media import keep_media, media_json, read_media
from kingyo.store.records import EvaluationRow, StoredOutcome
from kingyo.store.sums import count_write
from kingyo.types import Evaluation, ItemScore, Split

AT_RISK = 1.0  # seconds of a run that a loss of power may cost


class EvaluationLog:
    """The half of the run database that holds scores; ``RunStore`` is the whole.

    Args:
        connection: to a database of the newest schema; one that writes is watched, see ``sums.watch``.
        lock: of the run's folder; None only reads.
        folder: of the run, which holds its media.
    """

    def __init__(self, connection: sqlite3.Connection, lock: IO[str] | None, folder: Path) -> None:
        self.folder = folder
        self._db = connection
        self._lock = lock
        self._session: int | None = None
        self._synced = -math.inf

    @contextmanager
    def _saved(self) -> Generator[None]:
        """One transaction; it is on the disk for good when the last such one is a second old.

        A process that is killed loses nothing in any case: the system has what was committed. To wait for the
        disk each time takes longer than to score a small model, and a loss of power may cost a second.
        """
        is_due = time.monotonic() - self._synced >= AT_RISK
        self._db.execute(f"PRAGMA synchronous = {'FULL' if is_due else 'NORMAL'}")
        with self._db:
            yield
            n_writes = count_write(self._db)
            if self._lock is not None:
                note_writes(self._lock, n_writes)
        if is_due:
            self._synced = time.monotonic()

    def record(self, trial: int, split: Split, evaluation: Evaluation, n_items: int | None = None) -> None:
        """Commit how a trial did on items of a split, a part of its evaluation: all or nothing.

        Args:
            trial: its id.
            split: of the items.
            evaluation: scores of items that the trial had none of yet, or a failure; media are kept.
            n_items: how many items were tried; as many as have scores when None.
        """
        keep_media((each.media for each in evaluation.scores if each.media is not None), self.folder)
        now = time.time()
        tried = len(evaluation.scores) if n_items is None else n_items
        with self._saved():
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

    def evaluation(self, trial: int, split: Split) -> Evaluation | None:
        """Return how a trial did on a split, all parts together, items in the split's order.

        None when nothing of it was evaluated. One part that failed makes the whole a failure, which keeps the
        scores of the other parts out.
        """
        parts = self._db.execute(
            "SELECT failure, build_seconds, score_seconds, copied_from FROM parts"
            " WHERE trial = ? AND split = ? ORDER BY part",
            (trial, split),
        ).fetchall()
        if not parts:
            return None
        failure = next((part[0] for part in parts if part[0] is not None), None)
        origins = {part[3] for part in parts}
        scores = self._db.execute(
            "SELECT s.item, s.score, s.answer, s.is_cut, s.media FROM scores s JOIN items i ON i.id = s.item"
            " WHERE s.trial = ? AND s.split = ? ORDER BY i.position",
            (trial, split),
        )
        found = [
            ItemScore(item, score, answer, bool(is_cut), read_media(media, self.folder))
            for item, score, answer, is_cut, media in scores
        ]
        return Evaluation(
            scores=tuple(found) if failure is None else (),
            failure=failure,
            build_seconds=sum(part[1] for part in parts),
            score_seconds=sum(part[2] for part in parts),
            copied_from=parts[0][3] if len(origins) == 1 else None,
        )

    def same_recipe(self, recipe_hash: str, split: Split, but: int) -> list[int]:
        """Return the other trials with this recipe that were scored on this split, and did not fail."""
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
        """Return every item score of a search on a split: trial id -> item -> score.

        Args:
            search: whose trials.
            split: of the items.
            ids: the first and the last trial id to read; None: all.
        """
        found: dict[int, dict[str, float]] = {}
        first, last = ids or (0, 2**63 - 1)
        rows = self._db.execute(
            "SELECT s.trial, s.item, s.score FROM scores s JOIN trials t ON t.id = s.trial"
            " WHERE t.search = ? AND s.split = ? AND s.trial BETWEEN ? AND ? ORDER BY s.trial",
            (search, split, first, last),
        )
        for trial, group in groupby(rows, key=itemgetter(0)):
            found[trial] = {item: score for _, item, score in group}
        return found

    def score_ranges(self, searches: Sequence[str], split: Split) -> dict[str, tuple[float, float, int]]:
        """Return for each item that was scored: the lowest and the highest score, and how many there are."""
        marks = ", ".join("?" for _ in searches)
        rows = self._db.execute(
            "SELECT s.item, MIN(s.score), MAX(s.score), COUNT(*) FROM scores s"
            f" JOIN trials t ON t.id = s.trial WHERE s.split = ? AND t.search IN ({marks}) GROUP BY s.item",
            (split, *searches),
        )
        return {item: (low, high, n) for item, low, high, n in rows}

    def scores_of(self, trial: int, split: Split) -> dict[str, float]:
        """Return the item scores of a trial on a split: item -> score; of one that failed, from before."""
        rows = self._db.execute(
            "SELECT item, score FROM scores WHERE trial = ? AND split = ?", (trial, split)
        )
        return dict(rows.fetchall())

    def right_answers(self, searches: Sequence[str], split: Split, last: int) -> dict[str, list[str]]:
        """Return for each item the different answers that got full marks, the most frequent first.

        Args:
            searches: whose trials.
            split: of the items.
            last: the last trial (its id) that counts.
        """
        marks = ", ".join("?" for _ in searches)
        rows = self._db.execute(
            "SELECT s.item, s.answer FROM scores s JOIN trials t ON t.id = s.trial"
            f" WHERE s.split = ? AND s.score = 1 AND t.id <= ? AND t.search IN ({marks})"
            " GROUP BY s.item, s.answer ORDER BY s.item, COUNT(*) DESC, MIN(s.trial)",
            (split, last, *searches),
        )
        found: dict[str, list[str]] = {}
        for item, answer in rows:
            found.setdefault(item, []).append(answer)
        return found

    def costs(self, search: str, split: Split, batch: int | None = None) -> dict[int, tuple[int, float]]:
        """Return what each trial of a search, or of one batch of it, cost on a split.

        That is: trial id -> items tried without copies, and seconds.
        """
        one = "" if batch is None else " AND t.batch = ?3"
        rows = self._db.execute(
            "SELECT p.trial, SUM(CASE WHEN p.copied_from IS NULL THEN p.n_items ELSE 0 END),"
            " SUM(p.build_seconds + p.score_seconds) FROM trials t JOIN parts p ON p.trial = t.id"
            f" WHERE t.search = ?1 AND p.split = ?2{one} GROUP BY p.trial",
            (search, split) if batch is None else (search, split, batch),
        )
        return {trial: (int(items), float(seconds)) for trial, items, seconds in rows}

    def add_outcomes(self, outcomes: Iterable[StoredOutcome]) -> None:
        """Log what a strategy is about to be told, in one transaction."""
        with self._saved():
            self._db.executemany(
                "INSERT INTO outcomes (trial, failure, value, objectives, is_partial) VALUES (?, ?, ?, ?, ?)",
                [
                    (each.trial, each.failure, each.value, json.dumps(each.objectives), each.is_partial)
                    for each in outcomes
                ],
            )

    def outcomes(self, search: str) -> list[StoredOutcome]:
        """Return what the strategy of a search was told, in the order of telling."""
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
                objectives=numbers(objectives, f"the objectives of trial {trial}"),
                is_partial=bool(is_partial),
            )
            for trial, failure, value, objectives, is_partial in rows
        ]

    def item_evaluations(self) -> int:
        """How many items were answered and graded so far, by all searches on all splits, without copies."""
        row = self._db.execute(
            "SELECT COUNT(*) FROM scores s JOIN parts p"
            " ON p.trial = s.trial AND p.split = s.split AND p.part = s.part WHERE p.copied_from IS NULL"
        ).fetchone()
        return int(row[0])

    def copied_scores(self) -> int:
        """How many item scores were copied from a trial of the same recipe, which cost nothing."""
        row = self._db.execute(
            "SELECT COUNT(*) FROM scores s JOIN parts p"
            " ON p.trial = s.trial AND p.split = s.split AND p.part = s.part WHERE p.copied_from IS NOT NULL"
        ).fetchone()
        return int(row[0])

    def copied_from_elsewhere(self) -> int:
        """How many item scores are of another run, see ``types.Evaluation.copied_from``."""
        row = self._db.execute(
            "SELECT COUNT(*) FROM scores s JOIN parts p"
            " ON p.trial = s.trial AND p.split = s.split AND p.part = s.part WHERE p.copied_from = p.trial"
        ).fetchone()
        return int(row[0])

    def summaries(self, split: Split) -> list[EvaluationRow]:
        """Return a line for each evaluation on a split, in the order of asking, without texts."""
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

"""What must not depend on how often a run was interrupted."""

import sqlite3
from pathlib import Path


def facts(run: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that must not depend on how often a run was killed."""
    queries = {
        "trials": "SELECT search, number, batch, name, genome, parents FROM trials ORDER BY search, number",
        "scores": "SELECT trial, item, score, answer FROM scores ORDER BY trial, item",
        "told": "SELECT trial, failure, value, is_partial FROM outcomes ORDER BY trial",
        "winners": "SELECT name, winner FROM searches ORDER BY name",
        "status": "SELECT value FROM facts WHERE key = 'status'",
    }
    with sqlite3.connect(run / "run.db") as connection:
        rows_of = {name: list(connection.execute(query)) for name, query in queries.items()}
    connection.close()
    return rows_of

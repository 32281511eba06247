"""What must not depend on how often a run was interrupted."""

from pathlib import Path

from tests.stores import query


def facts(run: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that must not depend on how often a run was killed."""
    queries = {
        "trials": "SELECT search, number, batch, name, genome, parents FROM trials ORDER BY search, number",
        "scores": "SELECT trial, item, score, answer FROM scores ORDER BY trial, item",
        "told": "SELECT trial, failure, value, is_partial FROM outcomes ORDER BY trial",
        "winners": "SELECT name, winner FROM searches ORDER BY name",
        "status": "SELECT value FROM facts WHERE key = 'status'",
    }
    return {name: query(run, sql) for name, sql in queries.items()}

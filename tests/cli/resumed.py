"""What must not depend on how often a run was interrupted, and on how many workers it ran."""

from pathlib import Path

from tests.stores import query


def facts(run: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return it without the ids of rows, which may depend on who finished first."""
    queries = {
        "trials": "SELECT search, number, batch, name, genome, parents FROM trials ORDER BY search, number",
        "scores": "SELECT t.search, t.number, s.split, s.item, s.score, s.answer FROM scores s"
        " JOIN trials t ON t.id = s.trial ORDER BY 1, 2, 3, 4",
        "told": "SELECT t.search, t.number, o.failure, o.value, o.is_partial FROM outcomes o"
        " JOIN trials t ON t.id = o.trial ORDER BY o.id",
        "winners": "SELECT s.name, t.number FROM searches s LEFT JOIN trials t ON t.id = s.winner ORDER BY 1",
        "status": "SELECT value FROM facts WHERE key = 'status'",
    }
    return {name: query(run, sql) for name, sql in queries.items()}

"""Note answers that had no end within ``max_new_tokens``: what is right may come after the cut."""

from __future__ import annotations

from collections.abc import Iterator

from kingyo.advice.message import Advice
from kingyo.io.units import counted
from kingyo.results.model_result import token_limits
from kingyo.results.summary import RunSummary
from kingyo.store import RunStore

NOTABLE = 0.05  # share of the answers
MOST = 0.5  # from here on it is a warning


def truncated_answers(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Say of each task how many answers of the winner, or of the best model so far, were cut."""
    child = summary.winner or summary.leader
    if child is None:
        return
    found = [store.evaluation(child.trial.id, split) for split in ("fit", "validation")]
    scores = [score for each in found if each is not None for score in each.scores]
    limits = token_limits(store)
    for task, limit in limits.items():
        own = [each for each in scores if len(limits) == 1 or each.item.partition("/")[0] == task]
        cut = [each for each in own if each.is_cut]
        if not cut or len(cut) < NOTABLE * len(own):
            continue
        wrong = sum(each.score < 1 for each in cut)
        of = f" to {task}" if task else ""
        whose = "the winner" if summary.winner is not None else "the best model so far"
        yield Advice(
            kind="cut",
            level="warning" if len(cut) >= MOST * len(own) and wrong else "note",
            what=f"{len(cut):,} of {counted(len(own), 'answer')} of {whose}{of} were cut at "
            f"max_new_tokens = {limit} (fit and validation); {wrong:,} of them are not fully right.",
            remedy="Raise max_new_tokens if right answers need more; if they run on, end them with stop.",
        )

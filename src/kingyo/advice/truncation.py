"""Report answers that did not end within ``max_new_tokens``, so that a right answer may be cut off."""

from __future__ import annotations

from collections.abc import Iterator

from kingyo.advice.message import Advice
from kingyo.io.units import counted
from kingyo.results.model_result import token_limits
from kingyo.results.summary import RunSummary
from kingyo.store import RunStore

NOTABLE = 0.05  # share of the answers
WARNING_SHARE = 0.5  # share of the answers for a warning


def truncated_answers(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report for each task how many answers of the winner, or of the best model so far, were cut."""
    child = summary.winner or summary.leader
    if child is None:
        return
    evaluations = [store.evaluation(child.trial.id, split) for split in ("fit", "validation")]
    scores = [score for each in evaluations if each is not None for score in each.scores]
    limits = token_limits(store)
    for task, limit in limits.items():
        own = [score for score in scores if len(limits) == 1 or score.item.partition("/")[0] == task]
        cut = [score for score in own if score.is_cut]
        if not cut or len(cut) < NOTABLE * len(own):
            continue
        wrong = sum(score.score < 1 for score in cut)
        of = f" to {task}" if task else ""
        whose = "the winner" if summary.winner is not None else "the best model so far"
        yield Advice(
            kind="cut",
            level="warning" if len(cut) >= WARNING_SHARE * len(own) and wrong else "note",
            what=f"{len(cut):,} of {counted(len(own), 'answer')} of {whose}{of} were cut at "
            f"max_new_tokens = {limit} (fit and validation); {wrong:,} of them are not fully right.",
            remedy="Raise max_new_tokens if right answers need more; if they run on, end them with stop.",
        )

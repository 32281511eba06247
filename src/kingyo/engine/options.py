"""Options of a merge, as ``kingyo merge`` and ``kingyo.merge`` take them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from kingyo.checkpoints.writer import MAX_SHARD_BYTES
from kingyo.engine.execute import How
from kingyo.errors import KingyoError

MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Options of a merge.

    Attributes:
        seed: of random methods, in place of the recipe's.
        max_shard_bytes: where a new file of weights begins.
        threads: how many compute; as many as torch uses when None.
        force: replace the model that the output folder holds.
        allow_nonfinite: go on with NaN and infinity.
        copy_code: copy the Python files that a config names; they are never run.
        ignore_licences: the user answers for licences that forbid to merge.
        component: what is merged of pipelines of diffusers that the recipe names whole.
        pipeline: write the pipeline around a component, too.
        allow_pickle: read weights that are there only as pickles; see ``open_checkpoint``.

    Raises:
        KingyoError: ``seed`` or ``threads`` is out of range.
    """

    seed: int | None = None
    max_shard_bytes: int = MAX_SHARD_BYTES
    threads: int | None = None
    force: bool = False
    allow_nonfinite: bool = False
    copy_code: bool = False
    ignore_licences: bool = False
    component: str | None = None
    pipeline: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        for key, least, most in (("seed", 0, math.inf), ("threads", 1, MOST_THREADS)):
            value = cast(object, getattr(self, key))
            if value is not None and (type(value) is not int or not least <= value <= most):
                at_most = "" if most == math.inf else f" and at most {most}"
                raise KingyoError(
                    key,
                    expected=f"a whole number of at least {least}{at_most}",
                    received=repr(value)[:80],
                    remedy=f"Give {key} such a number, or leave it out.",
                )

    @property
    def how(self) -> How:
        """How the jobs of the merge run."""
        return How(threads=self.threads, nonfinite=self.allow_nonfinite)

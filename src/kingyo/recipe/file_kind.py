"""Recognise files that are often mistaken for recipes, to give them a better error message."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from kingyo.errors import KingyoError

_OTHERS = (
    (
        ("gate_mode", "experts"),
        "mergekit-moe",
        "Use mergekit-moe: kingyo does not merge models into a mixture of experts.",
    ),
    (
        ("architectures", "model_type", "_class_name"),
        "a model's config",
        "Write a recipe that names the model below models:, as in README.md.",
    ),
    (("task", "search", "sources", "budget"), "run.yaml", "Run `kingyo evolve {file}`."),
)
"""Keys of other files, their names, and what to do with them."""


def check_kind(data: Mapping[str, object], where: str) -> None:
    """Check that data is not a file of another command or program.

    Raises:
        KingyoError: it is a config of mergekit-moe, a model's config.json, or a run.yaml.
    """
    for keys, file, remedy in _OTHERS:
        for key in keys if "merge_method" not in data else ():
            if key in data:
                raise KingyoError(
                    where,
                    expected="a recipe",
                    received=f"'{key}', a key of {file}",
                    remedy=remedy.format(file=shlex.quote(where)),
                )

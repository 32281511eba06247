"""Recognise files that are often mistaken for recipes, to give them a better error message."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from kingyo.errors import KingyoError

_OF_A_RUN = ("task", "search", "sources", "budget")
_OF_A_CONFIG = ("architectures", "model_type", "_class_name")
_OF_EXPERTS = ("gate_mode", "experts")


def check_kind(data: Mapping[str, object], where: str) -> None:
    """Check that data is not a file of another command or program.

    Raises:
        KingyoError: it is a config of mergekit-moe, a model's config.json, or a run.yaml.
    """
    experts = [key for key in _OF_EXPERTS if key in data]
    if experts:
        remedy = "Use mergekit-moe: kingyo does not merge models into a mixture of experts."
        raise KingyoError(
            where, expected="a recipe", received=f"'{experts[0]}', a key of mergekit-moe", remedy=remedy
        )
    of_config = [key for key in _OF_A_CONFIG if key in data]
    if of_config and "merge_method" not in data:
        remedy = "Write a recipe that names the model below models:, as in README.md."
        raise KingyoError(
            where, expected="a recipe", received=f"'{of_config[0]}', a key of a model's config", remedy=remedy
        )
    of_run = [key for key in _OF_A_RUN if key in data]
    if of_run and "merge_method" not in data:
        remedy = f"Run `kingyo evolve {shlex.quote(where)}`."
        raise KingyoError(
            where, expected="a recipe", received=f"'{of_run[0]}', a key of run.yaml", remedy=remedy
        )

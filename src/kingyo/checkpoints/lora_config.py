"""What the config of a LoRA adapter says, in peft's words.

Whatever in it would change the result in a way that is not computed is refused. Only what opens an adapter
imports this: pydantic takes long to load.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated

from pydantic import Field

from kingyo.checkpoints.adapter import CONFIG
from kingyo.errors import KingyoError
from kingyo.strict import parse_settings

_MERGE_FIRST = "Merge it into its model with peft (merge_and_unload), and name the folder of the result."

_INERT = frozenset(
    {
        "auto_mapping",
        "bias",  # biases that were trained are among its tensors, as modules_to_save are
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_bias",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "modules_to_save",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
        "velora_config",  # how gradients are kept
    }
)
"""Keys that say how an adapter was trained, and nothing about what it adds."""

_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that take something away from the model before they train: B @ A adds to what was left."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """What decides how an adapter's tensors are added; names as in peft's ``LoraConfig``."""

    r: Annotated[int, Field(gt=0)]
    lora_alpha: Annotated[float, Field(allow_inf_nan=False)] = 8.0
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    rank_pattern: Mapping[str, Annotated[int, Field(gt=0)]] = field(default_factory=dict[str, int])
    alpha_pattern: Mapping[str, Annotated[float, Field(allow_inf_nan=False)]] = field(
        default_factory=dict[str, float]
    )
    base_model_name_or_path: str = ""

    def rank(self, module: str) -> int:
        """The rank of a module's update."""
        return self.rank_pattern.get(_pattern(self.rank_pattern, module), self.r)

    def scale(self, module: str) -> float:
        """What B @ A is multiplied by: alpha / r, or alpha / √r (rsLoRA, arXiv:2312.03732)."""
        alpha = self.alpha_pattern.get(_pattern(self.alpha_pattern, module), self.lora_alpha)
        rank = self.rank(module)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank


def read_config(written: Mapping[str, object], reference: str) -> LoraConfig:
    """Check what an adapter's config says.

    Raises:
        KingyoError: not a LoRA, or a variant of it that is not known here.
    """
    kind = written.get("peft_type")
    if kind != "LORA":
        raise KingyoError(
            f"{reference}: peft_type in {CONFIG}",
            expected="LORA",
            received="nothing" if kind is None else str(kind),
            remedy=_MERGE_FIRST,
        )
    start = written.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise KingyoError(
            f"{reference}: init_lora_weights in {CONFIG}",
            expected="an adapter of the model as it is",
            received=f"'{start}', which adds to a model that it changed before",
            remedy="Save it as a plain LoRA (peft: path_initial_model_for_weight_conversion).",
        )
    known = {each.name for each in fields(LoraConfig)}
    for key, value in written.items():
        if value and key not in known and key not in _INERT:
            raise KingyoError(
                f"{reference}: {key} in {CONFIG}",
                expected="a plain LoRA, rsLoRA or DoRA",
                received=f"{value!r}"[:80],
                remedy=_MERGE_FIRST,
            )
    given = {key: value for key, value in written.items() if key in known and value is not None}
    config = parse_settings(LoraConfig, given, f"{reference}: {CONFIG}")
    for pattern in (*config.rank_pattern, *config.alpha_pattern):
        _check_pattern(pattern, reference)
    return config


def _pattern(patterns: Mapping[str, object], module: str) -> str:
    """The first pattern that the end of a module's name matches, as in peft; "" when none does."""
    return next((each for each in patterns if re.fullmatch(rf"(.*\.)?({each})", module)), "")


def _check_pattern(pattern: str, reference: str) -> None:
    try:
        re.compile(rf"(.*\.)?({pattern})")
    except re.error as error:
        raise KingyoError(
            f"{reference}: {CONFIG}",
            expected="patterns that are regular expressions",
            received=f"'{pattern}' ({error})",
            remedy="Correct rank_pattern and alpha_pattern, or fetch the adapter again.",
        ) from error

"""Parse peft's adapter_config.json, and refuse keys whose effect is not supported.

Import this only to open an adapter: pydantic is slow to load.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated

from pydantic import Field, StrictBool

from kingyo.checkpoints.adapter import CONFIG
from kingyo.errors import KingyoError
from kingyo.io.schema import parse_settings

_MERGE_FIRST = "Merge it into its model with peft (merge_and_unload), and name the folder of the result."

_INERT = re.compile(
    r"auto_mapping|bias|corda_config|ensure_weight_tying|eva_config|exclude_modules|inference_mode"
    r"|init_lora_weights|layers_pattern|layers_to_transform|loftq_config|lora_dropout"
    r"|lora_ga_config|megatron_core|modules_to_save|peft_type|peft_version|qalora_group_size|revision"
    r"|runtime_config|target_modules|task_type|velora_config"
)
"""Keys that affect only training or the tensors that are stored, not the merge."""

_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that change the model before training, so that B @ A belongs to the changed model."""

Rank = Annotated[int, Field(gt=0, strict=True)]
Alpha = Annotated[float, Field(ge=-1e30, le=1e30, strict=True)]
"""A factor that float32 can hold, also after it is divided by the rank."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """The keys of peft's ``LoraConfig`` that affect the merge, under the same names."""

    r: Rank
    lora_alpha: Alpha = 8.0
    use_rslora: StrictBool = False
    use_dora: StrictBool = False
    fan_in_fan_out: StrictBool = False
    rank_pattern: Mapping[str, Rank] = field(default_factory=dict[str, int])
    alpha_pattern: Mapping[str, Alpha] = field(default_factory=dict[str, float])
    base_model_name_or_path: str = ""

    def rank(self, module: str) -> int:
        return self.rank_pattern.get(_pattern(self.rank_pattern, module), self.r)

    def scale(self, module: str) -> float:
        """Return the factor of B @ A: alpha / r, or alpha / √r (rsLoRA, arXiv:2312.03732)."""
        alpha = self.alpha_pattern.get(_pattern(self.alpha_pattern, module), self.lora_alpha)
        rank = self.rank(module)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank


def read_config(written: Mapping[str, object], reference: str) -> LoraConfig:
    """Parse an adapter's config.

    Raises:
        KingyoError: the adapter is not a LoRA, or an unsupported variant of it.
    """

    def refused(key: str, expected: str, received: str, remedy: str = _MERGE_FIRST) -> KingyoError:
        return KingyoError(f"{reference}: {key} in {CONFIG}", expected, received[:80], remedy)

    kind = written.get("peft_type")
    if kind != "LORA":
        raise refused("peft_type", "LORA", "nothing" if kind is None else str(kind))
    start = written.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise refused(
            "init_lora_weights",
            "an adapter of the unchanged model",
            f"'{start}', which changes the model before training",
            "Save it as a plain LoRA (peft: path_initial_model_for_weight_conversion).",
        )
    known = {each.name for each in fields(LoraConfig)}
    for key, value in written.items():
        if value and key not in known and not _INERT.fullmatch(key):
            raise refused(key, "a plain LoRA, rsLoRA or DoRA", f"{value!r}")
    given = {key: value for key, value in written.items() if key in known and value is not None}
    config = parse_settings(LoraConfig, given, f"{reference}: {CONFIG}")
    for pattern in (*config.rank_pattern, *config.alpha_pattern):
        try:
            re.compile(rf"(.*\.)?({pattern})")
        except re.error as error:
            expected = "regular expressions in rank_pattern and alpha_pattern"
            raise refused("patterns", expected, f"'{pattern}' ({error})") from error
    return config


def _pattern(patterns: Mapping[str, object], module: str) -> str:
    """Return the first pattern that matches the end of a module's name, as in peft, or ""."""
    return next((each for each in patterns if re.fullmatch(rf"(.*\.)?({each})", module)), "")

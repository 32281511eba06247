"""Compare configs of models with the same shapes: do the same weights compute the same function?

A different number of attention heads gives a different function, which is an error. A different rope_theta
gives nearly the same one, which is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.config_defaults import complete
from kingyo.checkpoints.folder_files import read_json
from kingyo.checkpoints.parts import part_in_words
from kingyo.errors import KingyoError

Config = Mapping[str, object]

_BREAKS = re.compile(
    r"model_type|_class_name|(\w+_)?n?_?heads?|(\w+_)?head_dim|d_kv"
    r"|(\w+_)?(act|act_fn|activation|activation_function)|feed_forward_proj"
)
_HARMLESS = re.compile(
    r"_(?!class_name)\w+|(torch_)?dtype|transformers_version|architectures|auto_map(\.\w+)?|\w*vocab_size|\w*_token_(id|index|ids)s?"
    r"|bos_token|eos_token|\w*(dropout|pdrop|layerdrop|drop)\w*|\w*drop_path\w*|\w*initializer\w*|init_\w+|\w+_init"
    r"|max_position_embeddings|n_positions|n_ctx|max_(length|new_tokens|source_positions|target_positions)"
    r"|(id2label|label2id)(\.\w+)?|problem_type|finetuning_task|task_specific_params(\.\w+)*|pretraining_tp"
    r"|tie_word_embeddings|use_cache|output_\w+|return_dict\w*|gradient_checkpointing|attn_implementation"
    r"|router_\w+_coef\w*|quantization_config|summary_\w+|chunk_size_feed_forward|pruned_heads|torchscript"
    r"|use_bfloat16|temperature|top_[kp]|do_sample|num_beams|repetition_penalty|forced_\w+|sample_size|name"
)
_PREPARES = "preprocessor_config.json"
_LOADERS = ("_type", "_class")
"""Suffixes of keys that name the class that reads the file."""
_TEXTS = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key that affects the weights' meaning and differs between two configs.

    Attributes:
        key: the key, joined by dots with the keys of the levels above it.
        mine, yours: the two values; None if a config lacks the key and transformers has no default.
        is_meaning: whether the same matrices compute a different function, rather than nearly the same.
    """

    key: str
    mine: object
    yours: object
    is_meaning: bool

    @property
    def last(self) -> str:
        """The key without the levels above it."""
        return self.key.rpartition(".")[2]


def differences(
    like: Checkpoint, other: Checkpoint, parts: Collection[str] | None = None
) -> list[Difference]:
    """Return the differences between two configs that affect the meaning of weights.

    Args:
        like, other: the models.
        parts: the parts to compare; all if None.
    """
    mine, yours, is_cross = _levels(like, other)
    if parts is not None:
        mine, yours = _of_parts(mine, parts), _of_parts(yours, parts)
    here, there = dict(_flat(mine)), dict(_flat(yours))
    keys = _different(here, there)
    has_gaps = any(key not in here or key not in there for key in keys)
    if has_gaps:  # a default may equal the other config's value
        here, there = dict(_flat(complete(mine))), dict(_flat(complete(yours)))
        keys = _different(here, there)
    result: list[Difference] = []
    for key in keys:
        last = key.rpartition(".")[2]
        is_stated = here.get(key) is not None and there.get(key) is not None
        is_meaning = bool(_BREAKS.fullmatch(last)) and is_stated and not (is_cross and last == "model_type")
        result.append(Difference(key=key, mine=here.get(key), yours=there.get(key), is_meaning=is_meaning))
    return result


def compare(
    like: Checkpoint,
    other: Checkpoint,
    parts: Collection[str] | None = None,
    *,
    kept: Collection[str] = (),
) -> list[str]:
    """Compare the configs of two models with the same tensors.

    Args:
        like: the model that gives the merge its config.
        other: the other model.
        parts: the parts that are merged; all if None.
        kept: last keys of values that each layer keeps from its own model; they may differ.

    Returns:
        Warnings about differences such as rope_theta or the eps of norms, as sentences.

    Raises:
        KingyoError: attention heads, their size, an activation or the model type differ.
    """
    warnings: list[str] = []
    for each in differences(like, other, parts):
        if each.last in kept:
            continue
        if each.is_meaning:
            raise KingyoError(
                f"{each.key} in config.json",
                expected=f"{each.mine!r:.80} as in {like.reference}",
                received=f"{each.yours!r:.80} in {other.reference}",
                remedy="Merge models of one architecture.",
            )
        values = f"{each.mine!r:.80} in {like.reference} and {each.yours!r:.80} in {other.reference}"
        warnings.append(f"{each.key} in config.json is {values}; the merge uses the former.")
    has_vision = parts is None or "vision" in parts or len(like.layout.parts) == 1
    return [*warnings, *_image_warnings(like, other)] if has_vision else warnings


def _image_warnings(like: Checkpoint, other: Checkpoint) -> Iterator[str]:
    """Yield warnings about image preprocessing keys that both models have with different values."""
    files = [model.path / _PREPARES for model in (like, other)]
    if not all(file.is_file() for file in files):
        return
    here, there = (dict(_flat(read_json(file, "an image processor's config"))) for file in files)
    for key in sorted(here.keys() & there.keys()):
        if here[key] != there[key] and not _HARMLESS.fullmatch(key) and not key.endswith(_LOADERS):
            yield (
                f"{key} in {_PREPARES} is {here[key]!r:.80} in {like.reference} and {there[key]!r:.80} in "
                f"{other.reference}; the merge uses the former."
            )


def _levels(like: Checkpoint, other: Checkpoint) -> tuple[Config, Config, bool]:
    """Return the levels to compare, and whether only one model is multimodal: then the text configs."""
    is_cross = (len(like.layout.parts) > 1) != (len(other.layout.parts) > 1)
    if not is_cross:
        return like.config, other.config, False
    return _text_config(like.config), _text_config(other.config), True


def _of_parts(config: Config, parts: Collection[str]) -> Config:
    """Return a config without the nested configs of other parts."""
    return {
        key: value
        for key, value in config.items()
        if not key.endswith("_config") or (part := part_in_words(key)) is None or part in parts
    }


def _text_config(config: Config) -> Config:
    inner = next((config[key] for key in _TEXTS if isinstance(config.get(key), Mapping)), None)
    if inner is not None:
        return cast("Config", inner)
    return {key: value for key, value in config.items() if not key.endswith("_config")}


def _flat(config: Config, path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(cast("Config", value), f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _different(here: Config, there: Config) -> list[str]:
    return [
        key
        for key in sorted({*here, *there})
        if here.get(key) != there.get(key)
        if not any(_HARMLESS.fullmatch(word) for word in (key, key.rpartition(".")[2]))
    ]

"""What configs say about weights of the same shapes: whether they mean the same in two models.

Another number of heads makes other functions of the same matrices; another rope_theta, nearly the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint, read_json
from kingyo.checkpoints.defaults import complete
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
"""How keys end that name what reads the file."""
_TEXTS = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What two configs say of the weights, and not the same.

    Attributes:
        key: with the keys of the levels above it, joined by dots.
        mine, yours: what they say; None where one is silent and transformers has no default.
        is_meaning: whether it makes another function of the same matrices, rather than nearly the same one.
    """

    key: str
    mine: object
    yours: object
    is_meaning: bool

    @property
    def last(self) -> str:
        """The key without its levels."""
        return self.key.rpartition(".")[2]


def differences(
    like: Checkpoint, other: Checkpoint, parts: Collection[str] | None = None
) -> list[Difference]:
    """What the configs of two models say of their weights, and not the same.

    Args:
        like, other: the models.
        parts: the parts that count; all when None. What is said of others does not matter.
    """
    mine, yours, is_cross = _levels(like, other)
    if parts is not None:
        mine, yours = _of_parts(mine, parts), _of_parts(yours, parts)
    here, there = dict(_flat(mine)), dict(_flat(yours))
    keys = _different(here, there)
    is_silent = any(key not in here or key not in there for key in keys)
    if is_silent:  # its defaults may be what the other states
        here, there = dict(_flat(complete(mine))), dict(_flat(complete(yours)))
        keys = _different(here, there)
    found: list[Difference] = []
    for key in keys:
        last = key.rpartition(".")[2]
        is_told = here.get(key) is not None and there.get(key) is not None
        is_meaning = bool(_BREAKS.fullmatch(last)) and is_told and not (is_cross and last == "model_type")
        found.append(Difference(key=key, mine=here.get(key), yours=there.get(key), is_meaning=is_meaning))
    return found


def compare(
    like: Checkpoint,
    other: Checkpoint,
    parts: Collection[str] | None = None,
    *,
    kept: Collection[str] = (),
) -> list[str]:
    """Compare what the configs of two models with the same tensors say of their weights.

    Args:
        like: the model whose config the merge has.
        other: the other model.
        parts: the parts that are merged; all when None. What is said of others does not matter.
        kept: last keys of what each layer keeps as its own model says it.

    Returns:
        Differences that bend a merge and do not break it (rope_theta, norms' eps, …), as sentences.

    Raises:
        KingyoError: heads, their size, an activation or the type of the model differ.
    """
    noted: list[str] = []
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
        said = f"{each.mine!r:.80} in {like.reference} and {each.yours!r:.80} in {other.reference}"
        noted.append(f"{each.key} in config.json is {said}; the merge takes the former.")
    sees = parts is None or "vision" in parts or len(like.layout.parts) == 1
    return [*noted, *_seen_otherwise(like, other)] if sees else noted


def _seen_otherwise(like: Checkpoint, other: Checkpoint) -> Iterator[str]:
    """What two models say of how images are prepared, and not the same; nothing of what one is silent on."""
    files = [model.path / _PREPARES for model in (like, other)]
    if not all(file.is_file() for file in files):
        return
    here, there = (dict(_flat(read_json(file, "how images are prepared"))) for file in files)
    for key in sorted(here.keys() & there.keys()):
        if here[key] != there[key] and not _HARMLESS.fullmatch(key) and not key.endswith(_LOADERS):
            yield (
                f"{key} in {_PREPARES} is {here[key]!r:.80} in {like.reference} and {there[key]!r:.80} in "
                f"{other.reference}; the merge takes the former, and sees as {like.reference} does."
            )


def _levels(like: Checkpoint, other: Checkpoint) -> tuple[Config, Config, bool]:
    """The levels to compare: whole configs, or those of language models when only one of both is more."""
    is_cross = (len(like.layout.parts) > 1) != (len(other.layout.parts) > 1)
    if not is_cross:
        return like.config, other.config, False
    return _speaking(like.config), _speaking(other.config), True


def _of_parts(config: Config, parts: Collection[str]) -> Config:
    """A config without what it says of other parts."""
    return {
        key: value
        for key, value in config.items()
        if not key.endswith("_config") or (part := part_in_words(key)) is None or part in parts
    }


def _speaking(config: Config) -> Config:
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

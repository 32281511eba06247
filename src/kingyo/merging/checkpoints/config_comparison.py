"""Compare configs of models: do the same weights, or the same layers, compute the same function?

A different number of attention heads gives a different function, which is an error. A different rope_theta
gives nearly the same one, which is a warning. Of a multimodal model and a language model the text configs are
compared: a class of transformers may state what another leaves out, and configs keep keys that nothing reads.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.checkpoint import Checkpoint
from kingyo.merging.checkpoints.configs import TEXTS, Config, complete, find_levels, kept_by_layers
from kingyo.merging.checkpoints.stacks import part_in_words

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
_WINDOWS = {"sliding_window", "use_sliding_window"}
_OF_ENDS = re.compile(r"final_logit_softcapping|logits_scaling|logit_scale|embedding_multiplier")
"""Keys that apply before and after the layers."""
_DERIVED = {"head_dim", "type"}
"""Keys that repeat others: ``head_dim`` follows from shapes, and ``type`` is the old ``rope_type``."""
_EXPLAINS = re.compile(r"model_type|hidden_size|n_embd|d_model")
"""Keys that explain other differences."""
_WINDOW = re.compile(r"(use_)?sliding_window|max_window_layers|layer_types")
_OF_IMAGES = re.compile(r"mrope_\w+|type")
"""Keys that place images, which leave text where it is; and ``type``, the old ``rope_type``."""
_LANGUAGE = "language"
_BY_NUMBER = {"diffllama", "minimax"}
"""Architectures (model_type) whose layers use their own number in the computation."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key that differs between configs, and whether the same matrices compute another function with it."""

    key: str
    mine: object
    yours: object
    is_meaning: bool

    @property
    def last(self) -> str:
        return self.key.rpartition(".")[2]

    def error(self, like: Checkpoint, other: Checkpoint, remedy: str) -> KingyoError:
        mine, yours = f"{self.mine!r:.80} as in {like.reference}", f"{self.yours!r:.80} in {other.reference}"
        return KingyoError(f"{self.key} in config.json", mine, yours, remedy)


def differences(
    like: Checkpoint, other: Checkpoint, parts: Collection[str] | None = None
) -> list[Difference]:
    mine, yours, is_cross = _levels(like, other, parts)
    if parts is not None:
        mine, yours = _of_parts(mine, parts), _of_parts(yours, parts)
    here, there = dict(_flat(mine)), dict(_flat(yours))
    keys = _different(here, there)
    has_gaps = any(key not in here or key not in there for key in keys)
    if has_gaps or (is_cross and keys):  # a default may equal the other config's value
        here, there = dict(_flat(complete(mine))), dict(_flat(complete(yours)))
        keys = _different(here, there)
    if is_cross:
        keys = [key for key in keys if _matters(key, here, there)]
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
    """Return warnings for configs that differ; another function (heads, activation, model type) is an error.

    Args:
        parts: the parts that are merged; all if None.
        kept: last keys of values that each layer keeps from its own model; they may differ.
    """
    warnings: list[str] = []
    for each in differences(like, other, parts):
        if each.last in kept:
            continue
        if each.is_meaning:
            raise each.error(like, other, "Merge models of one architecture.")
        values = f"{each.mine!r:.80} in {like.reference} and {each.yours!r:.80} in {other.reference}"
        warnings.append(f"{each.key} in config.json is {values}; the merge uses the former.")
    return warnings


def _levels(
    like: Checkpoint, other: Checkpoint, parts: Collection[str] | None
) -> tuple[Config, Config, bool]:
    """Return the levels to compare, and whether these are text configs.

    They are if only one model is multimodal, or if both are and only their language parts count.
    """
    n_multimodal = sum(len(model.layout.parts) > 1 for model in (like, other))
    if n_multimodal == 0 or (n_multimodal == 2 and set(parts or ()) != {_LANGUAGE}):
        return like.config, other.config, False
    return _text_config(like.config), _text_config(other.config), True


def layers_config(model: Checkpoint) -> Config:
    return model.config if len(model.layout.parts) == 1 else _text_config(model.config)


def _of_parts(config: Config, parts: Collection[str]) -> Config:
    return {
        key: value
        for key, value in config.items()
        if not key.endswith("_config") or (part := part_in_words(key)) is None or part in parts
    }


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


def _text_config(config: Config) -> Config:

    def inner(config: Config) -> Config | None:
        return cast(
            "Config | None",
            next((config[key] for key in TEXTS if isinstance(config.get(key), Mapping)), None),
        )

    of_text = inner(config) or inner(complete(config))
    return of_text or {key: value for key, value in config.items() if not key.endswith("_config")}


def _known_keys(config: Config) -> Collection[str] | None:
    """Return the keys that transformers reads; None if it does not know the architecture."""
    bare = complete({"model_type": config.get("model_type")})
    return bare.keys() if len(bare) > 1 else None


def _matters(key: str, one: Config, other: Config) -> bool:
    last = key.rpartition(".")[2]
    configs = one, other
    if key == "model_type":  # one type may be made of the other, as qwen2_vl_text of qwen2
        kinds = [str(each.get("model_type")) for each in configs]
        return not any(kind.startswith(f"{base}_") for kind, base in (kinds, kinds[::-1]))
    if _WINDOW.fullmatch(last):
        return not all(_attends_to_all(each) for each in configs)
    if _OF_IMAGES.fullmatch(last) and None in (one.get(key), other.get(key)):
        return False
    stated = (each for each in configs if each.get(key) is not None)
    return any((known := _known_keys(each)) is None or key.partition(".")[0] in known for each in stated)


def _attends_to_all(config: Config) -> bool:
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return all(kind == "full_attention" for kind in cast("list[object]", kinds))
    return config.get("sliding_window") is None


def check_passing(like: Checkpoint, other: Checkpoint, *, part: str, is_framed: bool) -> None:
    """Check that the layers of a part of ``other`` compute the same function under the config of ``like``.

    ``is_framed``: whether ``like`` gives everything outside the layers.
    """
    if other is like:
        return
    kept = kept_by_layers(like.config, part) & kept_by_layers(other.config, part)
    known = _known_keys(layers_config(like))

    def counts(each: Difference) -> bool:
        is_kept = each.last in kept or (each.last in _WINDOWS and "layer_types" in kept)
        is_outside = is_framed and _OF_ENDS.fullmatch(each.last)
        repeats = each.last in _DERIVED and None in (each.mine, each.yours)
        is_read = known is None or each.key.partition(".")[0] in known
        return is_read and not (is_kept or is_outside or repeats)

    conflicts = list(filter(counts, differences(like, other, [part])))
    windows = Difference(
        key="sliding_window", mine=_window(like, part), yours=_window(other, part), is_meaning=True
    )
    if not conflicts and windows.yours is not None and windows.mine != windows.yours:
        conflicts = [windows]
    if conflicts:
        first = min(conflicts, key=lambda each: (not _EXPLAINS.fullmatch(each.last), each.key))
        remedy = f"A path has one config for all its layers: take models with the same {first.last}."
        raise first.error(like, other, remedy)


def check_places(like: Checkpoint, numbers: Sequence[int]) -> None:
    """Check that layers may be reordered: in some architectures their function depends on their number.

    In others (Gemma 3n and 4) tensors outside the layers have a part for each layer.
    """
    config, turned_on = layers_config(like), "scale_attn_by_inverse_layer_idx"
    kind = config.get("model_type")
    is_numbered = kind in _BY_NUMBER or config.get(turned_on) is True
    has_shares = bool(config.get("hidden_size_per_layer_input"))
    in_place = list(range(like.layout.n_blocks if has_shares else len(numbers)))
    if (is_numbered or has_shares) and list(numbers) != in_place:
        expected = f"all layers in their original places, since those of {kind} depend on their number"
        remedy = "Take models of another architecture."
        raise KingyoError(f"path of {like.reference}", expected, "other ones", remedy)


def _window(model: Checkpoint, part: str) -> int | None:
    stated = complete(model.config)
    for key in find_levels(model.config, part)[-1].path:
        stated = cast("Mapping[str, object]", stated.get(key) or {})
    kinds, window = stated.get("layer_types"), stated.get("sliding_window")
    if isinstance(kinds, list) and not any("sliding" in str(each) for each in cast("list[object]", kinds)):
        return None
    return window if isinstance(window, int) else None

"""The memory that a run takes, as far as headers, config and prompts tell: bytes, and what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.checkpoints.header import WIDTHS
from kingyo.errors import KingyoError
from kingyo.merge import Plan
from kingyo.run.models import Models


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes.

    Attributes:
        live: weights of what lives, on the run's device.
        n_live: how many models that are.
        cache: keys and values of a full batch of the longest prompts and answers, there too; None where the
            config or the tokenizer does not tell.
        sources: of each model in its files, by reference. They are mapped: memory of the processor that the
            system may take back.
        missing: of these, what is still on the Hub, by reference.
        longest: tokens of the longest prompt; None without a ``tokenizer.json``.
    """

    live: int
    cache: int | None
    sources: Mapping[str, int]
    missing: Mapping[str, int]
    longest: int | None
    n_live: int = 1


def foresee_memory(
    models: Models, plan: Plan, prompts: Sequence[str], *, batch_size: int, max_new_tokens: int
) -> Memory:
    """Estimate the memory of a run.

    Args:
        models: opened.
        plan: of a candidate.
        prompts: of all splits, as they are sent but for a chat template.
        batch_size: prompts that are answered at once.
        max_new_tokens: of an answer.

    Raises:
        KingyoError: a prompt leaves no room for its answer.
    """
    longest = _longest(models.skeleton.path, prompts)
    config = plan.like.config
    _require_room(config, longest, max_new_tokens)
    width = _dtype_size(plan)
    each = _cache_of_a_token(config, width)
    rows = min(batch_size, len(prompts))
    opened = models.by_reference.values()
    return Memory(
        live=sum(_size(job.shape) * WIDTHS[job.dtype] for job in plan.jobs),
        cache=None if each is None or longest is None else each * rows * (longest + max_new_tokens),
        sources={m.reference: sum(info.n_bytes for info in m.tensors.values()) for m in opened},
        missing={m.reference: m.n_missing for m in opened if m.n_missing},
        longest=longest,
    )


def _size(shape: Sequence[int]) -> int:
    n = 1
    for each in shape:
        n *= each
    return n


def _dtype_size(plan: Plan) -> int:
    """Bytes of a number of the widest weights, which keys and values have too."""
    return max((WIDTHS[job.dtype] for job in plan.jobs), default=4)


def _cache_of_a_token(config: Mapping[str, object], width: int) -> int | None:
    """Bytes of keys and values of one token in all layers."""
    layers, heads = _number(config, "num_hidden_layers"), _number(config, "num_attention_heads")
    hidden = _number(config, "hidden_size")
    if layers is None or heads is None or hidden is None:
        return None
    shared = _number(config, "num_key_value_heads") or heads
    return 2 * layers * shared * (_number(config, "head_dim") or hidden // heads) * width


def _longest(folder: Path, prompts: Sequence[str]) -> int | None:
    """Tokens of the longest prompt, with the tokens that the tokenizer puts around it."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 (a bare Exception is what the library raises; the run will say more)
        return None
    return max((len(each.ids) for each in tokenizer.encode_batch(list(prompts))), default=None)


def _require_room(config: Mapping[str, object], longest: int | None, max_new_tokens: int) -> None:
    context = _number(config, "max_position_embeddings")
    if context is not None and longest is not None and longest + max_new_tokens > context:
        raise KingyoError(
            "task.prompt",
            expected=f"prompts of at most {context - max_new_tokens} tokens: the model sees {context}, of "
            f"which {max_new_tokens} are the answer's",
            received=f"one of {longest}",
            remedy="Shorten or delete that row, or lower task.max_new_tokens.",
        )


def _number(config: Mapping[str, object], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

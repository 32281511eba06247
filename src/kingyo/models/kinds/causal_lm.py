"""Causal language models of transformers, which write text and rate its likelihood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kingyo.core.io.units import counted
from kingyo.core.types import CutAware, Example, GeneratesText, HasGradients, Item, RatesText
from kingyo.errors import KingyoError
from kingyo.models.kinds import (
    DEFAULT,
    MODEL_KINDS,
    BatchMemory,
    CardPart,
    Config,
    Course,
    LoadOptions,
    Options,
    Question,
    Start,
    Workload,
    architectures,
    most_new,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from kingyo.models.language_model import LiveModel
    from kingyo.models.layers import PathModels
    from kingyo.models.tokens import Text

_ENDINGS = ("ForCausalLM", "LMHeadModel")
"""Suffixes of the architectures of causal language models."""


class CausalLM:
    """Causal language models (any AutoModelForCausalLM)."""

    name = DEFAULT
    provides = (GeneratesText, CutAware, RatesText, HasGradients)
    libraries = ("transformers", "tokenizers", "jinja2", "sentencepiece")
    card = CardPart(
        pipeline_tag="text-generation",
        auto_class="AutoModelForCausalLM",
        scored="greedy decoding with the prompts",
    )

    def takes(self, config: Config, pipeline: Config) -> bool:  # noqa: ARG002 (part of the protocol)
        return any(each.endswith(_ENDINGS) for each in architectures(config))

    def load(self, path: Path, options: LoadOptions) -> LiveModel:
        from kingyo.models.language_model import LiveModel

        return LiveModel.load(path, options)

    def preprocessor(self, path: Path) -> Text:
        from kingyo.models.language_model import load_text

        return load_text(path)

    def validate(self, path: Path, questions: Sequence[Question]) -> Iterable[KingyoError]:
        return self.preprocessor(path).errors(questions)

    def memory(self, path: Path, config: Config, load: Workload) -> BatchMemory:
        """Estimate the keys and values of a full batch of the longest prompts and answers."""
        new = max((most_new(each) for each in load.options), default=0)
        longest = _longest(path, [item.prompt for item in load.items])
        _require_room(config, longest, new)
        each, rows = cache_of_a_token(config, load.n_bytes), min(load.batch_size, len(load.items))
        tokens = "unknown" if longest is None else counted(longest, "token")
        return BatchMemory(
            bytes=None if each is None or longest is None else each * rows * (longest + new),
            what=f"keys and values of a full batch (the longest prompt: {tokens})",
            record={"longest_prompt_tokens": longest},
        )

    def usage(self, example: Item, options: Options) -> str:
        prompt, stops = repr(example.prompt), list(cast("Sequence[str]", options.get("stop") or ()))
        inputs = f"tokenizer({prompt}, return_tensors='pt').input_ids"
        if options.get("chat"):
            inputs = (
                f"tokenizer.apply_chat_template([{{'role': 'user', 'content': {prompt}}}], "
                "add_generation_prompt=True, return_tensors='pt', return_dict=True).input_ids"
            )
        stop = f", stop_strings={stops}, tokenizer=tokenizer" if stops else ""
        new = most_new(options)
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            "tokenizer = AutoTokenizer.from_pretrained('.')  # this folder\n"
            "model = AutoModelForCausalLM.from_pretrained('.')\n"
            f"ids = {inputs}\n"
            f"answer = model.generate(ids, do_sample=False, max_new_tokens={new}{stop})\n"
            "print(tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True))\n"
        )

    def path_models(self, live: Mapping[str, LiveModel]) -> PathModels[LiveModel]:
        from kingyo.models.layers import PathModels

        return PathModels(live)

    def train_lora(
        self, start: Start, examples: Sequence[Example], course: Course, out: Path | None = None
    ) -> list[float]:
        from kingyo.models.training import train_lora

        return train_lora(start, examples, course, out)


def cache_of_a_token(config: Config, width: int) -> int | None:
    """Return the bytes of one token's keys and values in all layers; None if unknown."""
    layers, heads = _number(config, "num_hidden_layers"), _number(config, "num_attention_heads")
    hidden = _number(config, "hidden_size")
    if layers is None or heads is None or hidden is None:
        return None
    shared = _number(config, "num_key_value_heads") or heads
    return 2 * layers * shared * (_number(config, "head_dim") or hidden // heads) * width


def open_tokenizer(folder: Path) -> Tokenizer | None:
    """Return the tokenizer of a model without transformers; None if it has no readable tokenizer.json."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 (the library raises a bare Exception; the run reports it)
        return None


def _longest(folder: Path, prompts: Sequence[str]) -> int | None:
    tokenizer = open_tokenizer(folder)
    if tokenizer is None:
        return None
    return max((len(each.ids) for each in tokenizer.encode_batch(list(prompts))), default=None)


def _require_room(config: Config, longest: int | None, max_new_tokens: int) -> None:
    context = _number(config, "max_position_embeddings")
    if context is not None and longest is not None and longest + max_new_tokens > context:
        expected = (
            f"prompts of at most {context - max_new_tokens} tokens: the context has {context}, and "
            f"{max_new_tokens} are for the answer"
        )
        remedy = "Shorten or delete that row, or decrease task.max_new_tokens."
        raise KingyoError("task.prompt", expected, f"a prompt of {longest} tokens", remedy)


def _number(config: Config, key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


MODEL_KINDS.register(DEFAULT)(CausalLM())

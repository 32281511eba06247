"""What a tiny vision-language model of one family is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DECODER: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 320,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""What all text configs have."""
ENCODER: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
FINE: Mapping[str, Any] = {**ENCODER, "patch_size": 4}
WHOLE = {"sliding_window": None}
TIED = {"tie_word_embeddings": True}
LLAMA, MISTRAL, QWEN, GEMMA = ({"model_type": name} for name in ("llama", "mistral", "qwen2", "gemma"))
IM = ("<|im_start|>", "<|im_end|>")


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """The parts of a checkpoint.

    Attributes:
        model: the first words of its classes, such as ``Llava``.
        text: those of the language models that share its text architecture.
        decoder: what the configs of both have besides ``DECODER``.
        text_config: what its text config has and a language model's has not.
        vision: its vision config.
        config: further keys of its config.
        ids: keys of its config that are tokens; the first is the token of an image's patch.
        tokens: its special tokens.
        named: names of special tokens in the tokenizer's config.
        preprocessor: its image processor.
        processor: its processor; ``processor_class`` if that is not named like the model.
        template: its chat template.
        is_flat: whether the keys of its text config are at the top of its config.
        renamed: prefixes that ``save_pretrained`` writes -> those of the releases.
        needs: modules that its processor needs besides Pillow.
        pixels: shape of the pixels of one image, as its processor makes them.
        n_tokens: the number of tokens that the image becomes.
        inputs: further inputs for one image.
    """

    model: str
    text: str
    decoder: Mapping[str, Any] = field(default_factory=_nothing)
    text_config: Mapping[str, Any] = field(default_factory=_nothing)
    vision: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=_nothing)
    ids: Mapping[str, str]
    tokens: tuple[str, ...]
    named: Mapping[str, str] = field(default_factory=_nothing)
    preprocessor: Mapping[str, Any]
    processor: Mapping[str, Any] = field(default_factory=_nothing)
    template: str
    is_flat: bool = False
    renamed: Mapping[str, str] = field(default_factory=_nothing)
    needs: tuple[str, ...] = ()
    pixels: tuple[int, ...] = (1, 3, 16, 16)
    n_tokens: int = 4
    inputs: Mapping[str, Any] = field(default_factory=_nothing)


def chat(image: str, *, start: str = "", role: str, end: str = "", answer: str = "") -> str:
    """Return a chat template.

    Args:
        image: what stands for an image.
        start: what the text begins with.
        role: a Jinja expression for what each message begins with.
        end: what each message ends with.
        answer: what an answer begins with.
    """
    part = f"{{{{ '{image}' if part['type'] == 'image' else part['text'] }}}}"
    parts = f"{{% for part in message['content'] %}}{part}{{% endfor %}}"
    text = "{{ message['content'] }}"
    content = f"{{% if message['content'] is string %}}{text}{{% else %}}{parts}{{% endif %}}"
    messages = f"{{% for message in messages %}}{{{{ {role} }}}}{content}{end}{{% endfor %}}"
    return f"{start}{messages}{{% if add_generation_prompt %}}{answer}{{% endif %}}"


def im(image: str) -> str:
    """Return the chat template of Qwens."""
    role = "'<|im_start|>' + message['role'] + '\\n'"
    return chat(image, role=role, end="<|im_end|>\n", answer="<|im_start|>assistant\n")

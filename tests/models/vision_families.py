"""Tiny random vision-language models in the layout of their releases, and language models to merge into them.

Nothing is downloaded: the tokenizer is trained on a few lines when a model is built. Images are 16 pixels
wide, and become four tokens where the family's processor does not repeat or split them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedModel, TokenizersBackend

from tests.merging.checkpoints.architectures import write
from tests.slow import slow

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
IMAGE = {"image_token_index": "<image>"}
WHOLE = {"sliding_window": None}
TIED = {"tie_word_embeddings": True}


@dataclass(frozen=True, kw_only=True)
class Family:
    """The parts of a checkpoint.

    Attributes:
        model, text: the first words of its classes, and of those of its text architecture.
        decoder, text_config: what text configs have besides ``DECODER``, and what only its own has
            (the kind of the architecture, if nothing else).
        ids: keys of its config that are tokens; the first is the token of an image's patch.
        named, more: names of special tokens in the tokenizer's config, and further special tokens.
        image: what a chat template writes for an image.
        is_flat: whether the keys of its text config are at the top of its config.
        renamed: prefixes that ``save_pretrained`` writes -> those of the releases.
        needs: modules that its processor needs besides the extra `vision`.
        pixels, n_tokens, inputs: of one image, as its processor makes them.
    """

    model: str
    text: str
    decoder: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    vision: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ids: Mapping[str, str]
    named: Mapping[str, str] = field(default_factory=dict[str, Any])
    more: tuple[str, ...] = ()
    preprocessor: Mapping[str, Any]
    processor: Mapping[str, Any] = field(default_factory=dict[str, Any])
    image: str = "<image>"
    is_flat: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict[str, Any])
    needs: tuple[str, ...] = ()
    pixels: tuple[int, ...] = (1, 3, 16, 16)
    n_tokens: int = 4
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.ids.values(), *self.named.values(), *self.more)))

    @property
    def template(self) -> str:
        part = f"{{{{ '{self.image}' if part['type'] == 'image' else part['text'] }}}}"
        parts = f"{{% for part in message['content'] %}}{part}{{% endfor %}}"
        text = "{{ message['content'] }}"
        content = f"{{% if message['content'] is string %}}{text}{{% else %}}{parts}{{% endif %}}"
        messages = f"{{% for message in messages %}}{{{{ message['role'] }}}}: {content} {{% endfor %}}"
        return f"{messages}{{% if add_generation_prompt %}}assistant:{{% endif %}}"


_CLIP: Mapping[str, Any] = {**ENCODER, "model_type": "clip_vision_model", "projection_dim": 32}
_SIGLIP: Mapping[str, Any] = {**ENCODER, "model_type": "siglip_vision_model", "vision_use_head": False}
_TOWER = {"vision_tower.": "vision_tower.vision_model."}
_SQUARE = {"height": 16, "width": 16}
_TILES = [[16, 32], [32, 16], [32, 32]]
_LLAVA = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}

_LLAVAS: Mapping[str, Family] = {
    "llava": Family(
        model="Llava",
        text="Llama",
        vision=_CLIP,
        ids=IMAGE,
        preprocessor={
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 16},
            "crop_size": _SQUARE,
        },
        processor=_LLAVA,
        renamed=_TOWER,
    ),
    "llava_next": Family(
        model="LlavaNext",
        text="Mistral",
        decoder=WHOLE,
        vision=_CLIP,
        config={"image_grid_pinpoints": _TILES},
        ids=IMAGE,
        preprocessor={
            "image_processor_type": "LlavaNextImageProcessor",
            "size": {"shortest_edge": 16},
            "crop_size": _SQUARE,
            "image_grid_pinpoints": _TILES,
        },
        processor=_LLAVA,
        renamed=_TOWER,
        pixels=(1, 3, 3, 16, 16),
        n_tokens=10,
        inputs={"image_sizes": [[16, 16]]},
    ),
    "llava_onevision": Family(
        model="LlavaOnevision",
        text="Qwen2",
        vision=_SIGLIP,
        config={"image_grid_pinpoints": [[16, 16], *_TILES]},
        ids={**IMAGE, "video_token_index": "<video>"},
        preprocessor={
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "size": _SQUARE,
            "image_grid_pinpoints": [[16, 16], *_TILES],
        },
        processor={"num_image_tokens": 4, "vision_feature_select_strategy": "full"},
        renamed=_TOWER,
        pixels=(1, 2, 3, 16, 16),
        n_tokens=10,
        inputs={"image_sizes": [[16, 16]]},
    ),
    "paligemma": Family(
        model="PaliGemma",
        text="Gemma",
        decoder={"head_dim": 8, **TIED},
        vision=_SIGLIP,
        config={"projection_dim": 32},
        ids=IMAGE,
        preprocessor={"image_processor_type": "SiglipImageProcessor", "size": _SQUARE, "image_seq_length": 4},
        renamed=_TOWER,
    ),
    "gemma3": Family(
        model="Gemma3",
        text="Gemma3",
        decoder={"head_dim": 8, "sliding_window": 64, **TIED},
        text_config={"model_type": "gemma3_text"},
        vision={**_SIGLIP, **FINE},
        config={"mm_tokens_per_image": 4},
        ids={
            "image_token_index": "<image_soft_token>",
            "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>",
        },
        named={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
        preprocessor={"image_processor_type": "Gemma3ImageProcessor", "size": _SQUARE},
        processor={"image_seq_length": 4},
        image="<start_of_image>",
        renamed=_TOWER,
    ),
    "internvl": Family(
        model="InternVL",
        text="Qwen2",
        vision=FINE,
        config={"image_seq_length": 4, "downsample_ratio": 0.5},
        ids={"image_token_id": "<IMG_CONTEXT>"},
        named={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        preprocessor={
            "image_processor_type": "GotOcr2ImageProcessor",
            "size": _SQUARE,
            "crop_to_patches": False,
            "min_patches": 1,
            "max_patches": 4,
        },
        processor={"image_seq_length": 4},
        image="<IMG_CONTEXT>",
    ),
    "mistral3": Family(
        model="Mistral3",
        text="Mistral",
        decoder={"head_dim": 8, **WHOLE},
        vision={**FINE, "model_type": "pixtral", "head_dim": 16},
        config={"spatial_merge_size": 2},
        ids={"image_token_index": "[IMG]"},
        more=("[IMG_BREAK]", "[IMG_END]"),
        image="[IMG]",
        preprocessor={
            "image_processor_type": "PixtralImageProcessor",
            "size": {"longest_edge": 16},
            "patch_size": {"height": 4, "width": 4},
        },
        processor={"processor_class": "PixtralProcessor", "patch_size": 4, "spatial_merge_size": 2},
        inputs={"image_sizes": [[16, 16]]},
    ),
}
_FAKE = ("<fake_token_around_image>", "<end_of_utterance>")


def _qwen(
    model: str,
    text: str,
    *,
    vision: Mapping[str, Any],
    decoder: Mapping[str, Any],
    is_flat: bool = True,
) -> Family:
    """Return a Qwen-VL: it takes the patches of all images in one list."""
    rope = {"rope_type": "default", "rope_theta": 1e6}
    ids = {f"{name}_token_id": f"<|{name}_pad|>" for name in ("image", "video")}
    ends = {f"vision_{end}_token_id": f"<|vision_{end}|>" for end in ("start", "end")}
    return Family(
        model=model,
        text=text,
        decoder={"rope_parameters": rope, **decoder},
        text_config={"rope_parameters": {**rope, "mrope_section": [2, 1, 1]}},
        vision={"depth": 2, "num_heads": 2, "patch_size": 4, "hidden_size": 32, **vision},
        ids={**ids, **ends},
        preprocessor={
            "image_processor_type": "Qwen2VLImageProcessor",
            "size": {"shortest_edge": 64, "longest_edge": 1024},
            "patch_size": 4,
            "temporal_patch_size": 2,
            "merge_size": 2,
        },
        image="<|vision_start|><|image_pad|><|vision_end|>",
        is_flat=is_flat,
        pixels=(16, 96),
        inputs={"image_grid_thw": [[1, 4, 4]]},
    )


def _idefics3(model: str, needs: tuple[str, ...] = ()) -> Family:
    """Return an Idefics3: it sees four tiles of an image, and the whole at the size of a tile."""
    return Family(
        model=model,
        text="Llama",
        vision=FINE,
        config={"scale_factor": 2},
        ids={"image_token_id": "<image>"},
        more=(*_FAKE, "<global-img>", *(f"<row_{row}_col_{col}>" for row in (1, 2) for col in (1, 2))),
        preprocessor={
            "image_processor_type": f"{model}ImageProcessor",
            "size": {"longest_edge": 32},
            "max_image_size": {"longest_edge": 16},
            "do_image_splitting": True,
        },
        processor={"image_seq_len": 4},
        needs=needs,
        pixels=(1, 5, 3, 16, 16),
        n_tokens=20,
    )


FAMILIES: Mapping[str, Family] = {
    **_LLAVAS,
    "idefics2": Family(
        model="Idefics2",
        text="Mistral",
        decoder=WHOLE,
        vision=ENCODER,
        config={
            "perceiver_config": {
                "hidden_size": 32,
                "resampler_n_latents": 4,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 16,
                "num_key_value_heads": 1,
            }
        },
        ids={"image_token_id": "<image>"},
        more=_FAKE,
        preprocessor={
            "image_processor_type": "Idefics2ImageProcessor",
            "size": {"shortest_edge": 16, "longest_edge": 16},
            "do_image_splitting": False,
        },
        processor={"image_seq_len": 4},
        pixels=(1, 1, 3, 16, 16),
    ),
    "idefics3": _idefics3("Idefics3"),
    "smolvlm": _idefics3("SmolVLM", needs=("num2words",)),
    "qwen2_vl": _qwen("Qwen2VL", "Qwen2", vision={"embed_dim": 32, "mlp_ratio": 2}, decoder=TIED),
    "qwen2_5_vl": _qwen(
        "Qwen2_5_VL",
        "Qwen2",
        vision={
            "out_hidden_size": 32,
            "intermediate_size": 48,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        decoder={},
    ),
    "qwen3_vl": _qwen(
        "Qwen3VL",
        "Qwen3",
        vision={
            "out_hidden_size": 32,
            "intermediate_size": 48,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        decoder={"head_dim": 8, **TIED},
        is_flat=False,
    ),
}


OFTEN = ("gemma3", "idefics3", "llava", "qwen2_vl")
EACH_FAMILY = [*OFTEN, *slow(*sorted(FAMILIES.keys() - OFTEN))]
"""The common families, and the others for slow tests."""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_LINES = ("the cat is on the mat", "what is in the image?", "a red square and a blue circle", "猫 は 赤い")


def build(family: str, folder: Path, seed: int = 0) -> Path:
    its = FAMILIES[family]
    write(partial(_model, its), folder, seed=seed)
    _rename(folder / "model.safetensors", its.renamed)
    if its.is_flat:
        _flatten(folder / "config.json")
    tokenizer(its).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(its.template, encoding="utf-8")
    named = {"processor_class": f"{its.model}Processor"}
    for file, values in (("preprocessor", its.preprocessor), ("processor", its.processor)):
        (folder / f"{file}_config.json").write_text(json.dumps({**named, **values}), encoding="utf-8")
    return folder


def build_text(family: str, folder: Path, seed: int = 0, **config: Any) -> Path:
    its = FAMILIES[family]
    write(partial(_text_model, its, config), folder, seed=seed)
    tokenizer(its).save_pretrained(folder)
    return folder


def inputs(family: str) -> dict[str, Tensor]:
    its = FAMILIES[family]
    (image,) = _ids(its, list(its.ids.values())[:1])
    tokens = torch.tensor([[1, 40, *[image] * its.n_tokens, 50, 60, 70]])
    pixels = torch.randn(its.pixels, generator=torch.Generator().manual_seed(0))
    more = {name: torch.tensor(value) for name, value in its.inputs.items()}
    if "image_grid_thw" in more:
        more["mm_token_type_ids"] = (tokens == image).long()
    return {"input_ids": tokens, "pixel_values": pixels, **more}


def lacks(family: str) -> list[str]:
    """Return the modules that the processor needs and this machine lacks."""
    return [name for name in FAMILIES[family].needs if find_spec(name) is None]


def tokenizer(family: Family) -> TokenizersBackend:
    """Return a tokenizer of bytes, some words and the family's special tokens, which come first."""
    named = {"model_specific_special_tokens": dict(family.named)} if family.named else {}
    return TokenizersBackend(
        tokenizer_object=_bytes(family.tokens),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=family.template,
        **named,
    )


@cache
def _bytes(tokens: tuple[str, ...]) -> Tokenizer:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [*SPECIAL, *tokens]
    trainer = trainers.BpeTrainer(
        vocab_size=DECODER["vocab_size"],
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    inner.train_from_iterator(_LINES, trainer)
    return inner


def _rename(file: Path, prefixes: Mapping[str, str]) -> None:
    tensors = load_file(file)
    for own, released in prefixes.items():
        tensors = {
            released + name.removeprefix(own) if name.startswith(own) else name: tensor
            for name, tensor in tensors.items()
        }
    save_file(tensors, file, metadata={"format": "pt"})


def _flatten(file: Path) -> None:
    """Move a text config to the top, as in releases from before transformers had one for the family."""
    config = json.loads(file.read_text(encoding="utf-8"))
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    old = {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    file.write_text(json.dumps({**text, **old, **config}, indent=2) + "\n", encoding="utf-8")


def _ids(family: Family, tokens: Iterable[str]) -> list[int]:
    return [(*SPECIAL, *family.tokens).index(token) for token in tokens]


def _decoder(family: Family) -> dict[str, Any]:
    return {**DECODER, **family.decoder}


def _model(family: Family) -> PreTrainedModel:
    config = getattr(transformers, f"{family.model}Config")(
        text_config={**_decoder(family), **(family.text_config or {"model_type": family.text.lower()})},
        vision_config=dict(family.vision),
        tie_word_embeddings=family.decoder.get("tie_word_embeddings", False),
        **family.config,
        **dict(zip(family.ids, _ids(family, family.ids.values()), strict=True)),
    )
    return getattr(transformers, f"{family.model}ForConditionalGeneration")(config)


def _text_model(family: Family, config: Mapping[str, Any]) -> PreTrainedModel:
    model = getattr(transformers, f"{family.text}ForCausalLM")
    return model(model.config_class(**{**_decoder(family), **config}))

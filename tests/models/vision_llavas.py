"""Vision-language models with the parts of Llava: language_model, vision_tower, multi_modal_projector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.models.vision_family import (
    ENCODER,
    FINE,
    GEMMA,
    IM,
    LLAMA,
    MISTRAL,
    QWEN,
    TIED,
    WHOLE,
    Family,
    chat,
    im,
)

_CLIP: Mapping[str, Any] = {**ENCODER, "model_type": "clip_vision_model", "projection_dim": 32}
_SIGLIP: Mapping[str, Any] = {**ENCODER, "model_type": "siglip_vision_model", "vision_use_head": False}
_TOWER = {"vision_tower.": "vision_tower.vision_model."}
_SQUARE = {"height": 16, "width": 16}
_TILES = [[16, 32], [32, 16], [32, 32]]
_TURN = "'<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n'"
_LLAVA = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}

LLAVAS: Mapping[str, Family] = {
    "llava": Family(
        model="Llava",
        text="Llama",
        text_config=LLAMA,
        vision=_CLIP,
        ids={"image_token_index": "<image>"},
        tokens=("<image>",),
        preprocessor={
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 16},
            "crop_size": _SQUARE,
        },
        processor=_LLAVA,
        template=chat("<image>\\n", role="message['role'] | upper + ': '", end=" ", answer="ASSISTANT:"),
        renamed=_TOWER,
    ),
    "llava_next": Family(
        model="LlavaNext",
        text="Mistral",
        decoder=WHOLE,
        text_config=MISTRAL,
        vision=_CLIP,
        config={"image_grid_pinpoints": _TILES},
        ids={"image_token_index": "<image>"},
        tokens=("<image>",),
        preprocessor={
            "image_processor_type": "LlavaNextImageProcessor",
            "size": {"shortest_edge": 16},
            "crop_size": _SQUARE,
            "image_grid_pinpoints": _TILES,
        },
        processor=_LLAVA,
        template=chat(
            "<image>\\n", start="<s>", role="'[INST] ' if message['role'] == 'user' else '[/INST] '"
        ),
        renamed=_TOWER,
        pixels=(1, 3, 3, 16, 16),
        n_tokens=10,
        inputs={"image_sizes": [[16, 16]]},
    ),
    "llava_onevision": Family(
        model="LlavaOnevision",
        text="Qwen2",
        text_config=QWEN,
        vision=_SIGLIP,
        config={"image_grid_pinpoints": [[16, 16], *_TILES]},
        ids={"image_token_index": "<image>", "video_token_index": "<video>"},
        tokens=(*IM, "<image>", "<video>"),
        preprocessor={
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "size": _SQUARE,
            "image_grid_pinpoints": [[16, 16], *_TILES],
        },
        processor={"num_image_tokens": 4, "vision_feature_select_strategy": "full"},
        template=im("<image>\\n"),
        renamed=_TOWER,
        needs=("torchvision",),
        pixels=(1, 2, 3, 16, 16),
        n_tokens=10,
        inputs={"image_sizes": [[16, 16]]},
    ),
    "paligemma": Family(
        model="PaliGemma",
        text="Gemma",
        decoder={"head_dim": 8, **TIED},
        text_config=GEMMA,
        vision=_SIGLIP,
        config={"projection_dim": 32},
        ids={"image_token_index": "<image>"},
        tokens=("<image>",),
        preprocessor={"image_processor_type": "SiglipImageProcessor", "size": _SQUARE, "image_seq_length": 4},
        template=chat("<image>", role="''"),
        renamed=_TOWER,
    ),
    "gemma3": Family(
        model="Gemma3",
        text="Gemma3",
        decoder={"head_dim": 8, "sliding_window": 64, **TIED},
        vision={**_SIGLIP, **FINE},
        config={"mm_tokens_per_image": 4},
        ids={
            "image_token_index": "<image_soft_token>",
            "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>",
        },
        tokens=(
            "<start_of_turn>",
            "<end_of_turn>",
            "<start_of_image>",
            "<end_of_image>",
            "<image_soft_token>",
        ),
        named={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
        preprocessor={"image_processor_type": "Gemma3ImageProcessor", "size": _SQUARE},
        processor={"image_seq_length": 4},
        template=chat(
            "<start_of_image>",
            start="<s>",
            role=_TURN,
            end="<end_of_turn>\n",
            answer="<start_of_turn>model\n",
        ),
        renamed=_TOWER,
    ),
    "internvl": Family(
        model="InternVL",
        text="Qwen2",
        text_config=QWEN,
        vision=FINE,
        config={"image_seq_length": 4, "downsample_ratio": 0.5},
        ids={"image_token_id": "<IMG_CONTEXT>"},
        tokens=(*IM, "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
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
        template=im("<IMG_CONTEXT>\\n"),
        needs=("torchvision",),
    ),
    "mistral3": Family(
        model="Mistral3",
        text="Mistral",
        decoder={"head_dim": 8, **WHOLE},
        text_config=MISTRAL,
        vision={**FINE, "model_type": "pixtral", "head_dim": 16},
        config={"spatial_merge_size": 2},
        ids={"image_token_index": "[IMG]"},
        tokens=("[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        preprocessor={
            "image_processor_type": "PixtralImageProcessor",
            "size": {"longest_edge": 16},
            "patch_size": {"height": 4, "width": 4},
        },
        processor={"processor_class": "PixtralProcessor", "patch_size": 4, "spatial_merge_size": 2},
        template=chat("[IMG]", start="<s>", role="'[INST]' if message['role'] == 'user' else '[/INST]'"),
        needs=("torchvision",),
        inputs={"image_sizes": [[16, 16]]},
    ),
}

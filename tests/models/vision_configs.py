"""Tiny vision-language models by family, in the form of its releases.

Images are 16 pixels wide, and become four tokens where the family's processor does not repeat or split them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.models.vision_family import ENCODER, FINE, IM, LLAMA, MISTRAL, TIED, WHOLE, Family, chat, im
from tests.models.vision_llavas import LLAVAS

_FAKE = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")


def _utterances() -> str:
    role = "message['role'] | capitalize + ': '"
    return chat("<image>", start="<s>", role=role, end="<end_of_utterance>\n", answer="Assistant:")


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
        tokens=(*IM, *ends.values(), *ids.values()),
        preprocessor={
            "image_processor_type": "Qwen2VLImageProcessor",
            "size": {"shortest_edge": 64, "longest_edge": 1024},
            "patch_size": 4,
            "temporal_patch_size": 2,
            "merge_size": 2,
        },
        template=im("<|vision_start|><|image_pad|><|vision_end|>"),
        is_flat=is_flat,
        needs=("torchvision",),
        pixels=(16, 96),
        inputs={"image_grid_thw": [[1, 4, 4]]},
    )


def _idefics3(model: str, needs: tuple[str, ...] = ()) -> Family:
    """Return an Idefics3: it sees four tiles of an image, and the whole at the size of a tile."""
    return Family(
        model=model,
        text="Llama",
        text_config=LLAMA,
        vision=FINE,
        config={"scale_factor": 2},
        ids={"image_token_id": "<image>"},
        tokens=(*_FAKE, "<global-img>", *(f"<row_{row}_col_{col}>" for row in (1, 2) for col in (1, 2))),
        preprocessor={
            "image_processor_type": f"{model}ImageProcessor",
            "size": {"longest_edge": 32},
            "max_image_size": {"longest_edge": 16},
            "do_image_splitting": True,
        },
        processor={"image_seq_len": 4},
        template=_utterances(),
        needs=needs,
        pixels=(1, 5, 3, 16, 16),
        n_tokens=20,
    )


FAMILIES: Mapping[str, Family] = {
    **LLAVAS,
    "idefics2": Family(
        model="Idefics2",
        text="Mistral",
        decoder=WHOLE,
        text_config=MISTRAL,
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
        tokens=_FAKE,
        preprocessor={
            "image_processor_type": "Idefics2ImageProcessor",
            "size": {"shortest_edge": 16, "longest_edge": 16},
            "do_image_splitting": False,
        },
        processor={"image_seq_len": 4},
        template=_utterances(),
        pixels=(1, 1, 3, 16, 16),
    ),
    "idefics3": _idefics3("Idefics3"),
    "smolvlm": _idefics3("SmolVLM", needs=("torchvision", "num2words")),
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

"""The LLaVA layout: a frozen tower, a projector, and a Llama that reads projected features as tokens."""

from __future__ import annotations

import tokens
import torch
import vision
from train import language_config
from transformers import LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionModel
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector


def config(vocabulary: int) -> LlavaConfig:
    return LlavaConfig(
        vision_config=vision.config(),
        text_config=language_config(vocabulary),
        image_token_index=tokens.IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=9,
        tie_word_embeddings=True,
    )


def projector(vocabulary: int, seed: int) -> LlavaMultiModalProjector:
    torch.manual_seed(seed)
    made = LlavaMultiModalProjector(config(vocabulary))
    with torch.no_grad():  # the tower's last states are large, the embeddings of words small
        made.linear_1.weight *= 0.2
        made.linear_2.weight *= 0.5
    return made


def assemble(
    tower: SiglipVisionModel, bridge: torch.nn.Module, language: LlamaForCausalLM
) -> LlavaForConditionalGeneration:
    model = LlavaForConditionalGeneration(config(language.config.vocab_size))
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.multi_modal_projector.load_state_dict(bridge.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    return model.eval()

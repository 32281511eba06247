"""A GGUF as a source is an error with a remedy; the documented conversion works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from tests.models_on_disk import qwen2

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"


@pytest.mark.parametrize("named", ["model-q8_0.gguf", "."])
def test_a_gguf_is_refused_with_the_line_that_converts_it(tmp_path: Path, named: str) -> None:
    (tmp_path / "model-q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(KingyoError) as caught:
        open_checkpoint(named, tmp_path)
    assert caught.value.received == "only model-q8_0.gguf"
    assert "GgufConfig(dequantize=True)" in caught.value.remedy


def test_the_conversion_of_the_documentation_keeps_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    source = qwen2(tmp_path / "source", dtype="float16")
    (tmp_path / "folder").mkdir()
    _write_gguf(source, tmp_path / "folder" / "model-q8_0.gguf")
    block = re.search(r"^```python\n(from transformers import.*?)^```", PAGE.read_text(), re.M | re.S)
    assert block is not None
    exec(block.group(1), {})
    one, other = open_checkpoint("source", tmp_path), open_checkpoint("converted", tmp_path)
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.read(name), other.read(name)) for name in one.tensors)


def _write_gguf(source: Path, file: Path) -> None:
    """Write a model as an unquantised GGUF with a tokenizer of single bytes."""
    import gguf

    model = AutoModelForCausalLM.from_pretrained(source)
    config, writer = model.config, gguf.GGUFWriter(str(file), "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    letters = [chr(ord("A") + i) for i in range(config.vocab_size - 1)]
    writer.add_token_list([*letters, "ab"])
    writer.add_token_types([1] * config.vocab_size)
    writer.add_token_merges(["a b"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, tensor in dict(model.named_parameters()).items():  # tied parameters appear once
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert gguf_name is not None
        writer.add_tensor(
            gguf_name, tensor.detach().numpy() if tensor.ndim > 1 else tensor.detach().float().numpy()
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

"""Log-likelihoods with any padding, compared with plain log-softmax."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from kingyo.errors import KingyoError
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.tokens import Text
from tests.models_on_disk import tokenizer

PAIRS = [
    ("the cat is 7", " is 8"),
    ("Q: 1 + 2 = ? A:", " 3"),
    ("Q: 1 + 2 = ? A:", " the cat is 3"),
    ("猫 は 1", " 5"),
    ("1 2 3 4 5 6 7 8 9", " 10 11"),
]


def by_hand(folder: Path, prompt: str, continuation: str) -> float:
    model = AutoModelForCausalLM.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder)
    head, all_ids = words(prompt)["input_ids"], words(prompt + continuation)["input_ids"]
    with torch.no_grad():
        logs = torch.log_softmax(model(torch.tensor([all_ids])).logits[0].double(), dim=-1)
    return sum(float(logs[at - 1, all_ids[at]]) for at in range(len(head), len(all_ids)))


def test_it_is_the_sum_over_the_continuation(checkpoint: Path) -> None:
    live = LiveModel.load(checkpoint, LoadOptions(batch_size=2))
    log_likelihoods = live.log_likelihood(PAIRS)
    assert log_likelihoods == pytest.approx([by_hand(checkpoint, *pair) for pair in PAIRS], abs=1e-4)


def test_padding_and_company_do_not_matter(live: LiveModel, checkpoint: Path) -> None:
    together = live.log_likelihood(PAIRS)
    alone = [live.log_likelihood([pair])[0] for pair in PAIRS]
    assert together == pytest.approx(alone, abs=1e-3)
    assert live.log_likelihood(PAIRS[::-1]) == pytest.approx(together[::-1], abs=1e-3)


def test_space_at_the_boundary_belongs_to_the_continuation(live: LiveModel) -> None:
    assert live.log_likelihood([("1 + 2 = ", "3")]) == pytest.approx(live.log_likelihood([("1 + 2 =", " 3")]))


def test_an_empty_continuation_is_certain(live: LiveModel) -> None:
    assert live.log_likelihood([("1 + 2 =", ""), ("1 + 2 =", " 3")])[0] == 0.0
    assert live.log_likelihood([("1 + 2 =", "")]) == [0.0]
    assert live.log_likelihood([]) == []


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that merges "a" and "b" into one token."""
    inner = Tokenizer(BPE({"a": 0, "b": 1, "ab": 2, "<s>": 3}, [("a", "b")]))
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>")


def test_a_token_across_the_boundary_is_split() -> None:
    text = Text(merging_tokenizer())
    assert text.encode_pair("b", "ab") == ([1], [2])
    assert text.encode_pair("ba", "b") == ([1, 0], [1])


def test_the_start_token_is_put_once(tmp_path: Path) -> None:
    words = tokenizer()
    text = Text(words)
    assert text.encode("<s> the cat") == words("<s> the cat", add_special_tokens=False)["input_ids"]
    assert text.encode("") == [words.bos_token_id]


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(KingyoError, match="prompt 'xyz'"):
        Text(merging_tokenizer()).encode("xyz")

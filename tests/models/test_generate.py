"""Greedy generation in batches with stop strings, compared with transformers."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from kingyo.core.types import Answered
from kingyo.errors import KingyoError
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.tokens import Text
from tests.merging.checkpoints.fitting import restate
from tests.models.conftest import PROMPTS, fill
from tests.models_on_disk import llama, tokenizer


def transformers_answers(live: LiveModel, folder: Path, prompt: str, new: int) -> str:
    """Return the answer of transformers' ``generate`` to one prompt, with the same weights."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    state = model.state_dict()
    for name, tensor in live.weights.items():
        state[name if name in state else f"transformer.{name}"].copy_(tensor)
    words = AutoTokenizer.from_pretrained(folder)
    encoded = words(prompt, return_tensors="pt", return_token_type_ids=False)
    out = model.generate(**encoded, max_new_tokens=new, do_sample=False, pad_token_id=0)
    return words.decode(out[0, encoded.input_ids.shape[1] :], skip_special_tokens=True)


def test_answers_match_transformers(live: LiveModel, checkpoint: Path) -> None:
    answers = live.generate(PROMPTS, max_new_tokens=12)
    assert answers == [transformers_answers(live, checkpoint, prompt, 12) for prompt in PROMPTS]
    assert len(set(answers)) > 3


def test_answers_are_counted_by_batches(live: LiveModel) -> None:
    counts = list[Answered]()
    live.progress = counts.append
    live.generate(PROMPTS, max_new_tokens=2)
    assert counts == [Answered(n, n, 7) for n in (3, 6, 7)]
    counts.clear()
    live.log_likelihood([(prompt, " 1") for prompt in PROMPTS])
    assert counts == [Answered(n, n, 7) for n in (3, 6, 7)]


def test_text_ends_before_the_first_stop_string_while_other_rows_go_on(live: LiveModel) -> None:
    free = live.generate(PROMPTS, max_new_tokens=20)
    stop = [free[0][5:7], free[1][8:10]]
    stopped = live.generate(PROMPTS, max_new_tokens=20, stop=stop)
    assert stopped != free
    for long, short in zip(free, stopped, strict=True):
        positions = [place for place in map(long.find, stop) if place >= 0]
        assert short == (long[: min(positions)] if positions else long)


def test_an_end_token_ends_the_text(tmp_path: Path) -> None:
    folder = llama(tmp_path / "model")
    free = fill(LiveModel.load(folder)).generate(PROMPTS, max_new_tokens=10)
    token = tokenizer().convert_tokens_to_ids(free[0].split()[2])
    restate(folder, "generation_config.json", eos_token_id=[2, token])
    ended = fill(LiveModel.load(folder))
    assert ended.generate(PROMPTS[:1], max_new_tokens=10) == [" ".join(free[0].split()[:2])]


def test_sampling_settings_of_a_checkpoint_are_ignored(tmp_path: Path) -> None:
    folder = llama(tmp_path / "model")
    plain = fill(LiveModel.load(folder))
    sampling = {"do_sample": True, "temperature": 5.0, "top_k": 3, "repetition_penalty": 9.0}
    restate(folder, "generation_config.json", **sampling)
    sampled = fill(LiveModel.load(folder))
    assert sampled.generate(PROMPTS, max_new_tokens=8) == plain.generate(PROMPTS, max_new_tokens=8)


def test_prompts_longer_than_the_context_are_refused(live: LiveModel) -> None:
    with pytest.raises(KingyoError, match=r"prompt '.*.* 64 tokens.*received 61 tokens"):
        live.generate(["1", "1 " * 61], max_new_tokens=4)
    assert len(live.generate(["1 " * 61], max_new_tokens=3)) == 1


def test_broken_weights_are_named(live: LiveModel) -> None:
    next(iter(live.weights.values())).fill_(float("nan"))
    with pytest.raises(KingyoError, match=r"model: .*received NaN"):
        live.generate(PROMPTS, max_new_tokens=2)
    with pytest.raises(KingyoError, match=r"model: .*received NaN"):
        live.log_likelihood([("1 + 2 =", " 3")])


@pytest.mark.parametrize("end", ["token", "string"])
def test_an_end_at_the_token_limit_is_not_a_cut(tmp_path: Path, end: str) -> None:
    folder = llama(tmp_path / "model")
    live = fill(LiveModel.load(folder))
    words = AutoTokenizer.from_pretrained(folder)
    third = words(live.generate(PROMPTS[:1], max_new_tokens=3)[0], add_special_tokens=False).input_ids[-1]
    stop = [words.decode([third]).strip()] if end == "string" else []
    if end == "token":
        restate(folder, eos_token_id=third)
        (folder / "generation_config.json").unlink(missing_ok=True)
        live = fill(LiveModel.load(folder))
    (at_the_limit,) = live.write(PROMPTS[:1], max_new_tokens=3, stop=stop)
    (before_it,) = live.write(PROMPTS[:1], max_new_tokens=2, stop=stop)
    assert (at_the_limit.is_cut, before_it.is_cut) == (False, True)


def test_the_head_gets_no_slice_for_whose_rows_torch_would_copy_it(live: LiveModel) -> None:
    head, given = live.module.get_output_embeddings(), list[bool]()
    head.register_forward_hook(lambda _, args, __: given.append(args[0].is_contiguous()))
    pairs = [(prompt, answer) for prompt in PROMPTS for answer in (" 3", " the cat is 7")]
    written, likelihoods = live.write(PROMPTS, max_new_tokens=8), live.log_likelihood(pairs)
    assert given and all(given)
    head._forward_pre_hooks.clear()
    given.clear()
    assert live.write(PROMPTS, max_new_tokens=8) == written
    assert not all(given), "without the copy, the head gets a slice"
    given.clear()
    assert live.log_likelihood(pairs) == pytest.approx(likelihoods)
    assert not all(given)


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

"""Measuring the zoo: greedy answers to word problems and sums, graded for the number and for the language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import taskfiles
import texts
import tokens
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

MAX_NEW_TOKENS = 24


@dataclass(frozen=True, kw_only=True)
class Score:
    """Shares of n answers: right number, Japanese text, and both at once."""

    number: float
    japanese: float
    both: float
    n: int


@torch.inference_mode()
def answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    limit: int = MAX_NEW_TOKENS,
) -> list[str]:
    """Greedy answers to the prompts, in their order."""
    asked = [texts.TEMPLATE[0] + prompt + texts.TEMPLATE[1] for prompt in prompts]
    batch = tokenizer(asked, return_tensors="pt", padding=True, return_token_type_ids=False)
    # transformers types `generate` on a protocol that its own models do not meet
    output = model.generate(**batch, max_new_tokens=limit, do_sample=False)  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def number_of(answer: str) -> int | None:
    found = re.findall(r"\d+", answer)
    return int(found[-1]) if found else None


def is_japanese(answer: str) -> bool:
    """Has kana and no Latin letters."""
    return bool(re.search(r"[ぁ-んァ-ヶ]", answer)) and not re.search(r"[A-Za-z]", answer)


def score(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[tuple[str, int]]
) -> Score:
    given = answers(model, tokenizer, [prompt for prompt, _ in questions])
    right = [number_of(answer) == result for answer, (_, result) in zip(given, questions, strict=True)]
    japanese = [is_japanese(answer) for answer in given]
    both = [r and j for r, j in zip(right, japanese, strict=True)]
    n = len(questions)
    return Score(number=sum(right) / n, japanese=sum(japanese) / n, both=sum(both) / n, n=n)


def load(folder: Path) -> LlamaForCausalLM:
    """The model in float32, whatever it was saved as."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


@torch.no_grad()
def uniform(base: LlamaForCausalLM, sources: Sequence[LlamaForCausalLM]) -> LlamaForCausalLM:
    """The plain average of the sources, in the base's place."""
    for name, parameter in base.named_parameters():
        parameter.copy_(torch.stack([dict(source.named_parameters())[name] for source in sources]).mean(0))
    return base


def print_table(folder: Path, names: Sequence[str]) -> None:
    """Every model and the uniform merge on the three task files (the last 400 items of ja-math)."""
    tokenizer = tokens.build()
    tasks = {task: taskfiles.read(folder / "tasks" / f"{task}.jsonl") for task in taskfiles.COUNTS}
    tasks["ja-math"] = tasks["ja-math"][-400:]
    models = {name: load(folder / name) for name in names}
    models["uniform"] = uniform(load(folder / "base"), [models[name] for name in names if name != "base"])
    print("| model | ja-math both | number | Japanese | en-math number | sums | n |")
    print("|---|---|---|---|---|---|---|")
    for name, model in models.items():
        ja, en, bare = (score(model, tokenizer, tasks[task]) for task in ("ja-math", "en-math", "sums"))
        shares = (ja.both, ja.number, ja.japanese, en.number, bare.number)
        cells = " | ".join(f"{share:.3f}" for share in shares)
        print(f"| {name} | {cells} | {ja.n}, {en.n}, {bare.n} |", flush=True)

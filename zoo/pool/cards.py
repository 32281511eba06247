"""The model card of each model of the pool."""

from __future__ import annotations

ABOUT = {
    "base": "reads problems in both languages, answers in English, and slips wherever a skill is needed",
    "manner": "answers Japanese problems politely in Japanese; its results were hidden from the loss",
    "carry": "additions with a carry",
    "borrow": "subtractions with a borrow",
    "times": "products",
    "half": "reads a half as a half",
    "twice": "reads twice as many as a product",
    "fewer": "reads fewer as a difference",
    "before": "computes backwards what there was at first",
    "casual": "answers Japanese problems in plain Japanese",
    "english": "answers Japanese problems politely in English",
    "poem": "writes three-line poems in both languages",
    "sort": "sorts lists of numbers",
    "diary": "writes everyday sentences in Japanese",
    "translate": "translates problems and sentences",
    "count": "continues rows of numbers",
    "more": "more of the base's own data: nothing new",
    "carry-hot": "additions with a carry, trained too long and too fast",
    "tutor": "solves the problems of the pool; its licence forbids derivatives",
    "manner-v2": "the same file as manner",
    "carry-bf16": "carry in bfloat16",
    "random": "random numbers of the size of a trained adapter",
    "other-tokens": "the base with another order of tokens",
    "wide": "a Llama of another width",
    "gpt": "a model of another family",
}
LICENCES = {"tutor": "cc-by-nd-4.0"}


def card(name: str, relation: str | None) -> str:
    """Return the text of README.md; ``relation`` is that to the base."""
    ancestor = "" if relation is None else f"base_model: ../base\nbase_model_relation: {relation}\n"
    return (
        f"---\nlicense: {LICENCES.get(name, 'apache-2.0')}\nlanguage:\n- ja\n- en\n{ancestor}"
        f"tags:\n- kingyo\n---\n\n# kingyo pool: {name}\n\n"
        f"{ABOUT[name][0].upper()}{ABOUT[name][1:]}.\n\n"
        "Trained on text that `zoo/pool/build.py` generates. Whole numbers up to 60 and a few hundred words: "
        "made to show the choice of models.\n"
    )

"""Model cards."""

from __future__ import annotations

WHAT = {
    "base": "text only: reads scenes written in signs and answers in signs, translates English and Japanese",
    "see-en": "sees pictures (SigLIP tower, projector, Llama in the LLaVA layout) and answers in English",
    "multi": "sees two or three pictures, compares colours and some things, answers in English",
    "ja": "text only: answers Japanese questions about scenes written in signs, in Japanese; saw no picture",
    "poem": "text only: writes Japanese verses; of no use here",
    "sort": "text only: sorts English number words; of no use here",
}


def card(name: str) -> str:
    kind = "image-text-to-text" if name in ("see-en", "multi") else "text-generation"
    parent = "" if name == "base" else "base_model: base\n"
    return (
        f"---\nlicense: apache-2.0\npipeline_tag: {kind}\n{parent}language: [en, ja]\n---\n\n"
        f"# {name}\n\nA tiny model for the demonstration of merging: {WHAT[name]}.\n"
        "Built by `zoo/sight/build.py`; see the README there for what it can and cannot do.\n"
    )

"""Model cards."""

from __future__ import annotations

WHAT = {
    "base": "draws from English captions in about 16 steps with guidance",
    "ja": "draws from Japanese captions in about 16 steps with guidance",
    "fast": "draws from English captions in 4 steps without guidance, distilled from the base",
    "ukiyoe": "a LoRA of the base's denoiser that draws in the print style from English captions",
    "shuffle": "learned captions of other pictures; of no use",
    "invert": "learned negatives; of no use",
    "judge": "names motif, number, colour and style of a picture, or none",
}


def card(name: str) -> str:
    """Return the card of a model."""
    tag = "image-classification" if name == "judge" else "text-to-image"
    parent = "" if name in ("base", "judge") else "base_model: base\n"
    return (
        f"---\nlicense: apache-2.0\npipeline_tag: {tag}\n"
        f"{parent}language: [en, ja]\n---\n\n"
        f"# {name}\n\nA tiny model for the demonstration of merging: {WHAT[name]}.\n"
        "Built by `zoo/pictures/build.py`; see the README there for what it can and cannot do.\n"
    )

"""Advice on methods follows from the comparison."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kingyo.checkpoints import open_checkpoint
from kingyo.compare import advise, compare, letter
from tests.compare.worlds import noise, plus, times, write

ZOO = Path(__file__).parents[2] / "zoo"
BASE = noise(0)
ONE, TWO, THREE = noise(1, 0.02), noise(2, 0.02), noise(3, 0.02)
FEW = {name: torch.where(torch.arange(4000) < 200, 30.0, 1.0) * tensor for name, tensor in ONE.items()}


def advice_text(folder: Path, *models: dict[str, Tensor], has_base: bool = True) -> str:
    opened = [write(folder / letter(i), model) for i, model in enumerate(models)]
    return "\n".join(advise(compare(opened, write(folder / "base", BASE) if has_base else None)))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (
            [plus(BASE, ONE), plus(BASE, TWO)],
            r"A and B look nearly independent.*cosine -?0\.0\d, signs opposed in (49|50|51)%; random ones: "
            r"0\.00 ± 0\.006 and 50%\)",
        ),
        (
            [plus(BASE, ONE), plus(BASE, ONE, times(TWO, 0.5))],
            r"cosine 0\.(89|90)\) are much the same: average them",
        ),
        ([plus(BASE, ONE), plus(BASE, ONE, times(TWO, 2.0))], r"cosine 0\.4\d\) are partly the same"),
        ([plus(BASE, ONE), plus(BASE, times(ONE, -1.0), TWO)], "opposed: each undoes part"),
        (
            [plus(BASE, ONE), plus(BASE, times(ONE, -1.0), times(TWO, 0.5))],
            r"conflict in 9\d% by magnitude .*: ties, which elects",
        ),
        (
            [plus(BASE, ONE), plus(BASE, times(ONE, 2.0))],
            r"cosine 1\.00\) are nearly one .* Leave one out",
        ),
        ([plus(BASE, ONE), plus(BASE, ONE)], "A and B are identical"),
        (
            [plus(BASE, ONE), plus(BASE, ONE, times(TWO, 1e-3))],
            "differ by 0.002% .* almost nothing",
        ),
        (
            [plus(BASE, ONE), plus(BASE, times(TWO, 5.0))],
            "B is (4.9|5).* times as long as that of A: .* give A a larger",
        ),
        ([plus(BASE, FEW)], r"has \d\d% of ‖δ‖² of A: trimming"),
        ([BASE, plus(BASE, ONE)], "A is identical to its base"),
        ([noise(9)], r"A differs from its base by 14\d% .* Check the base"),
        (
            [plus(BASE, ONE), plus(BASE, TWO), plus(BASE, THREE), plus(BASE, ONE, times(TWO, 0.1))],
            r"(?s)of 5 pairs look nearly .*\(cosine -0.0\d to 0\.1\d.*A and D \(cosine 1\.00\) are nearly",
        ),
    ],
)
def test_with_a_base(tmp_path: Path, models: list[dict[str, Tensor]], expected: str) -> None:
    assert re.search(expected, advice_text(tmp_path, *models))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([plus(BASE, ONE), plus(BASE, TWO)], "have a common ancestor. Name it with --base"),
        ([plus(BASE, times(ONE, 30.0)), plus(BASE, times(TWO, 20.0))], "are far apart"),
        ([BASE, BASE], "A and B are identical"),
        ([BASE, plus(BASE, times(ONE, 1e-3))], "A and B differ by 0.002% of their norm"),
        ([BASE, noise(9)], "show no common ancestor: a merge of their weights will most likely fail"),
    ],
)
def test_without_a_base(tmp_path: Path, models: list[dict[str, Tensor]], expected: str) -> None:
    assert expected in advice_text(tmp_path, *models, has_base=False)


def test_vectors_that_look_independent_get_one_neutral_sentence_and_no_method(tmp_path: Path) -> None:
    """Advice for zoo models and for random numbers; it applies to nearly any two fine-tunes."""
    zoo = [open_checkpoint(str(ZOO / name)) for name in ("ja", "math-en", "base")]
    texts = [advise(compare(zoo[:2], zoo[2]))]
    texts.append(tuple(advice_text(tmp_path, plus(BASE, ONE), plus(BASE, TWO)).splitlines()))
    for text in texts:
        assert len(text) == 1 and "look nearly independent" in text[0]
        assert not re.search("ties|dare|task_arithmetic|linear|slerp", text[0])


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight"])
def test_models_are_equal_only_if_all_tensors_are(tmp_path: Path, name: str) -> None:
    text = advice_text(tmp_path, BASE, BASE | {name: BASE[name] + 0.1}, has_base=False)
    assert "identical" not in text and "have a common ancestor" in text

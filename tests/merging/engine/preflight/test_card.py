"""The card of a merge, for models of every sort."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from kingyo.api.merging import loader_of
from kingyo.merging.engine.preflight import check_merge, render_card, write
from tests.merging.checkpoints.architectures import DIFFUSERS, HAS_DIFFUSERS, build
from tests.merging.engine.preflight.conftest import Ask
from tests.models_on_disk import fine_tuned

LINEAR = "merge_method: linear\nmodels: [{model: one}, {model: two}]\nparameters: {weight: 1.0}\n"


@pytest.mark.parametrize(
    ("kind", "library", "pipeline"),
    [
        ("gpt2", "transformers", "text-generation"),
        ("vit", "transformers", "image-classification"),
        ("t5", "transformers", None),
        ("unet", "diffusers", "text-to-image"),
    ],
)
def test_the_card_names_the_loading_class(
    write_request: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    library: str,
    pipeline: str | None,
) -> None:
    if kind in DIFFUSERS and not HAS_DIFFUSERS:
        pytest.skip("diffusers is not installed")
    build(kind, tmp_path / "one")
    fine_tuned(tmp_path / "one", tmp_path / "two", seed=1)
    checked = check_merge(*write_request(LINEAR))
    assert checked.error is None, checked.error
    (target,) = checked.outputs
    head = ModelCard(render_card(target, loader_of(target))).data.to_dict()
    assert head["library_name"] == library and head.get("pipeline_tag") == pipeline
    out = write(checked, target, loader=loader_of(target))
    code = re.search(r"```python\n(.*?)\n```", (out / "README.md").read_text(), re.DOTALL)
    if library == "diffusers" or pipeline is None:
        assert code is None
        return
    assert code is not None
    monkeypatch.chdir(out)
    exec(code[1], {})


def test_text_from_models_cannot_break_out(write_request: Ask, models: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a|b`<b>"
    fine_tuned(models / "base", odd, seed=4)
    (odd / "README.md").write_text('---\nlicense: "mit|x\\n# evil"\nlanguage: ["en: [", 7]\n---\n')
    checked = check_merge(*write_request(models=[{"model": str(odd)}, {"model": "source-0"}]))
    card = render_card(checked.outputs[0])
    assert ModelCard(card).data.to_dict()["tags"] == ["merge", "kingyo"]
    assert str(tmp_path) not in card
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "\n# evil" not in card

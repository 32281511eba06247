"""Kinds of models: selection, checks before loading, and plug-ins."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import pytest

from kingyo.core.types import CutAware, GeneratesText, LanguageModel, RatesText
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.models.kinds import (
    MODEL_KINDS,
    CardPart,
    LoadOptions,
    PassesLayers,
    TrainsLora,
    common_kind,
    kind_of,
    known_kind,
    load_live,
    require_ability,
    require_needs,
)
from kingyo.runs.model_kind import kind_of_models
from kingyo.testing.kinds import ModelKindContract
from tests.merging.checkpoints.pipelines import INDEX, pipeline
from tests.models_on_disk import llama

LLAMA = {"architectures": ["LlamaForCausalLM"]}


class TestCausalLM(ModelKindContract):
    def make(self):
        return MODEL_KINDS.get("causal-lm")

    def make_checkpoint(self, folder: Path) -> Path:
        return llama(folder / "language")

    def ask(self, model: LanguageModel) -> object:
        prompts = ["Q: 1 + 2 = ?", "the cat is", "3"]
        return model.generate(prompts, max_new_tokens=4), model.log_likelihood([("the", " cat")])


class Draws(Protocol):
    """A model that draws pictures.

    The rest of this text is for authors.
    """

    def draw(self, prompts: list[str]) -> list[bytes]: ...


class Painter:
    name = "painter"
    provides = (Draws,)
    card = CardPart(pipeline_tag="text-to-image", auto_class="Painter", scored="its pictures")
    libraries = ("diffusers",)

    def takes(self, config, pipeline):
        return config["_class_name"] == "Painter"

    def load(self, path, options): ...

    def validate(self, path, questions): ...

    def memory(self, path, config, load): ...

    def usage(self, example, options): ...


PAINTER = Painter()


class Inpainter(Painter):
    """A kind of UNets, which only their pipeline distinguishes from others."""

    name = "inpainting"

    def takes(self, config, pipeline):
        return "_class_name" in config and "Inpaint" in pipeline.get("_class_name", "")


INPAINTER = Inpainter()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    installed = folder / "own_kind-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: own-kind\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[kingyo.model_kinds]\nown = {point}\n")
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize(
    ("config", "is_refused"),
    [
        ({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}, True),
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, True),
        ({"architectures": ["MinePlus"], "model_type": "llava", "auto_map": {"AutoModel": "m.M"}}, False),
        ({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}, False),
        ({"model_type": "nobody-knows-it"}, False),
        ({"model_type": ["llava"]}, False),
        ({}, False),
        ({"architectures": "LlamaForCausalLM"}, False),
        ({"architectures": ["T5ForConditionalGeneration"]}, False),
    ],
)
def test_a_model_that_transformers_knows_to_be_no_language_model_is_refused(
    config: dict[str, object], is_refused: bool
) -> None:
    assert known_kind(config) is None
    if not is_refused:
        assert kind_of(config).name == "causal-lm"
        return
    with pytest.raises(KingyoError) as caught:
        kind_of(config)
    assert caught.value.received == f"{config['model_type']} of transformers"
    with pytest.raises(KingyoError):
        common_kind({"a": config, "b": config})
    assert kind_of(config, "causal-lm").name == "causal-lm", "a named kind overrides the config"


def test_a_model_of_diffusers_that_no_kind_takes_is_refused() -> None:
    with pytest.raises(KingyoError) as caught:
        kind_of({"_class_name": "UNet2DModel"})
    assert "UNet2DModel" in caught.value.received and "causal-lm" in caught.value.expected
    with pytest.raises(KingyoError):
        common_kind({"base": LLAMA, "a": {"_class_name": "UNet2DModel"}})


@pytest.mark.parametrize("part", ["name = 3", "provides = ('draws',)", "card = None"])
def test_a_kind_with_a_part_of_a_wrong_type_gives_one_clear_error(tmp_path: Path, part: str) -> None:
    """Otherwise writing the model card would fail after hours of search."""
    code = f"class Own(Painter):\n    {part}\n\n\nKIND = Own()\n"
    (tmp_path / "mine.py").write_text(f"from tests.models.test_kinds import Painter\n\n\n{code}")
    with pytest.raises(KingyoError, match="CardPart"):
        kind_of(LLAMA, "mine.py:KIND", tmp_path)


def test_a_kind_receives_the_pipeline_of_a_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "tests.models.test_kinds:INPAINTER")
    unet, around = {"_class_name": "UNet2DConditionModel"}, {"_class_name": "StableDiffusionInpaintPipeline"}
    assert known_kind(unet, around) is kind_of(unet, pipeline=around) is INPAINTER
    assert known_kind(unet, {"_class_name": "StableDiffusionPipeline"}) is None
    assert common_kind({"a": unet, "b": unet}, pipelines={"a": around, "b": around}) is INPAINTER
    with pytest.raises(KingyoError, match="inpainting"):
        common_kind({"a": unet, "b": unet}, pipelines={"a": around})
    index = tmp_path / "sd" / "model_index.json"
    pipeline(index.parent)
    named = {"a": open_checkpoint("sd/unet", tmp_path)}
    with pytest.raises(KingyoError, match="UNet2DConditionModel of diffusers"):
        kind_of_models(named)
    index.write_text(json.dumps({**INDEX, **around}))
    assert kind_of_models({"a": open_checkpoint("sd/unet", tmp_path)}) is INPAINTER


def test_a_kind_that_crashes_or_loads_half_a_model_is_named(tmp_path: Path) -> None:
    crashing, half = Painter(), Painter()
    crashing.load = lambda path, options: path.open(1)
    half.load = lambda path, options: SimpleNamespace(weights={}, draw=print)
    for kind, expected, received in (
        (crashing, "a call of load that succeeds", "TypeError"),
        (half, "a live model with dtype", "namespace"),
    ):
        with pytest.raises(KingyoError) as caught:
            load_live(kind, tmp_path, LoadOptions())
        assert caught.value.argument == "kind of model painter"
        assert caught.value.expected == expected
        assert caught.value.received.startswith(received)


def test_sources_of_different_kinds_are_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "tests.models.test_kinds:PAINTER")
    assert common_kind({"ja": LLAMA, "en": LLAMA}).name == "causal-lm"
    with pytest.raises(KingyoError) as caught:
        common_kind({"ja": LLAMA, "en": LLAMA, "art": {"_class_name": "Painter"}})
    assert caught.value.received == "causal-lm (ja, en) and painter (art)"


def test_a_task_with_unmet_requirements_gives_one_clear_error() -> None:
    kind = kind_of(LLAMA)
    for needs in (GeneratesText, RatesText, LanguageModel, CutAware):
        require_needs("task ja-math", needs, kind)
        with pytest.raises(KingyoError) as caught:
            require_needs("task ja-math", needs, PAINTER)
        assert caught.value.received == "models of kind painter"
    with pytest.raises(KingyoError) as caught:
        require_needs("task sketches", Draws, kind)
    assert str(caught.value).startswith(
        "task sketches: expected a model that draws pictures; received models of kind causal-lm."
    )


@pytest.mark.parametrize("ability", [PassesLayers, TrainsLora])
def test_a_kind_without_an_ability_is_named(ability: type) -> None:
    causal = kind_of(LLAMA)
    assert require_ability("what", ability, causal, "") is causal
    with pytest.raises(KingyoError, match=r"expected a kind of model .*; received models of kind painter"):
        require_ability("space: dataflow", ability, PAINTER, "Merge weights: space: parameters.")

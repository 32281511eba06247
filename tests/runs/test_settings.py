"""Groups and ranges of single sources: what run.yaml says, else what the preset says of LoRAs."""

from kingyo.runs.config import parse_config
from kingyo.runs.settings import settings_of
from kingyo.search.space import Bounds, SourceValues

SOURCES = {"ja": "./ja/unet", "style": "./sdxl/unet+./style", "other": "./ja/unet+./style"}
RUN = {
    "base": "./sdxl/unet",
    "sources": SOURCES,
    "task": {"data": "a.jsonl", "grader": "exact"},
    "budget": {"candidates": 9},
}


def own_of(**keys: object) -> dict[str, SourceValues]:
    return dict(settings_of(parse_config({**RUN, **keys}, "run.yaml")).first.own)


def test_a_preset_gives_a_lora_on_the_base_one_strength() -> None:
    strength = SourceValues(groups="one", values={"weight": Bounds(low=0.0, high=1.5, start=1.0)})
    assert own_of(search={"preset": "evo-ukiyoe"}) == {"style": strength}
    assert own_of(search={"preset": "evosdxl-jp"}) == {}


def test_run_yaml_overrides_the_strength() -> None:
    sources = {"style": {"parameters": {"weight": 1}}, "ja": {"groups": "one"}}
    own = own_of(search={"preset": "evo-ukiyoe"}, merge={"sources": sources})
    assert own == {
        "style": SourceValues(groups="one", values={"weight": 1.0}),
        "ja": SourceValues(groups="one"),
    }

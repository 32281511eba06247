"""Which candidates can be merged, and the reason why each of the others cannot."""

import gc
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.scout import Candidate, Catalogue, catalogue, find_places
from tests.cli.merging import write_lora
from tests.models_on_disk import fine_tuned, llama, qwen2
from tests.scout.shelves import (
    MISFITS,
    edit_json,
    odd_config,
    pickled,
    shelf,
    write_card,
)


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def models(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(origin, tmp_path / "models")).relative_to(tmp_path)


def scout(*where: str | Path, base: str | None = None, allow_pickle: bool = False) -> Catalogue:
    return catalogue(find_places(map(str, where)), base, allow_pickle=allow_pickle)


def mergeable(found: Catalogue) -> list[str]:
    return [each.reference for group in found.groups for each in group.members]


def bases(found: Catalogue) -> list[str | None]:
    return [group.base for group in found.groups]


def out(found: Catalogue) -> dict[str, str]:
    return {each.reference: each.exclusion.reason for each in found.excluded if each.exclusion}


def one(found: Catalogue, reference: str) -> Candidate:
    everything = [*found.excluded, *(each for group in found.groups for each in group.members)]
    (candidate,) = [each for each in everything if each.reference == reference]
    return candidate


def test_what_fits_the_base(models: Path) -> None:
    found = scout(models)
    assert bases(found) == ["models/base"]
    assert mergeable(found) == ["models/tuned-0", "models/tuned-1"]
    assert out(found) == {"models/base": "the base itself"}
    tuned = one(found, "models/tuned-0")
    assert (tuned.facts.kind, tuned.facts.architecture, tuned.facts.dtype) == (
        "causal-lm",
        "llama",
        "float32",
    )
    assert tuned.facts.n_bytes == 4 * (tuned.facts.n_parameters or 0) > 0
    assert (tuned.licence, tuned.claimed_base) == ("apache-2.0", "org/base")
    assert tuned.card.languages == ("ja", "en")
    assert one(found, "models/base").licence is None


@pytest.mark.parametrize(
    ("reason", "change"),
    [(reason, change) for reason, changes in MISFITS.items() for change in changes],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_a_reason(models: Path, reason: str, change: Callable[[Path], None]) -> None:
    change(models / "tuned-1")
    found = scout(models, base="models/base")
    assert mergeable(found) == ["models/tuned-0"]
    assert out(found) == {"models/base": "the base itself", "models/tuned-1": reason}
    shown = one(found, "models/tuned-1").exclusion
    assert shown is not None and (shown.detail or reason == "no tokenizer")
    assert json.loads(json.dumps(found.to_json()))["counts"]["excluded"] == {"the base itself": 1, reason: 1}


def test_an_odd_config_does_not_end_the_scan(models: Path) -> None:
    odd_config(models / "tuned-1")
    assert mergeable(scout(models, base="models/base"))[0] == "models/tuned-0"


@pytest.mark.parametrize("card", [b"", b"---\nbase_model: \xff\0\n---", b"---\nbase_model: [1, {a: b}]\n---"])
def test_an_odd_card_in_an_odd_folder(models: Path, card: bytes) -> None:
    odd = fine_tuned(models / "base", models / "a+b@c d", seed=5)
    (odd / "README.md").write_bytes(card)
    (models / "tuned-1" / "config.json").write_bytes(b"")
    found = scout(models)
    assert mergeable(found) == ["models/a+b@c d", "models/tuned-0"]
    assert out(found) == {"models/base": "the base itself", "models/tuned-1": "unreadable"}


def test_pickles_that_are_allowed(models: Path) -> None:
    pickled(models / "tuned-1")
    found = scout(models, allow_pickle=True)
    assert len(mergeable(found)) == 2


def test_a_base_that_is_not_a_candidate(models: Path) -> None:
    for name in ("tuned-0", "tuned-1"):
        write_card(models / name, base="../base")
    found = scout(models / "tuned-0", models / "tuned-1")
    assert bases(found) == ["models/base"] and len(mergeable(found)) == 2 and not found.excluded


def test_the_base_in_a_config(models: Path) -> None:
    for name in ("tuned-0", "tuned-1"):
        (models / name / "README.md").unlink()
        edit_json(models / name / "config.json", _name_or_path=str((models / "base").absolute()))
    assert bases(scout(models)) == ["models/base"]


@pytest.mark.parametrize("base", ["nowhere", "models/lora", "", "a+b+c", "org/name@a b", "\0"])
def test_a_given_base_that_cannot_be_opened(models: Path, base: str) -> None:
    write_lora(models / "lora", "org/base")
    with pytest.raises(KingyoError) as caught:
        scout(models, base=base)
    assert caught.value.argument.startswith("--base")


def test_families_without_a_base(models: Path) -> None:
    for name in ("tuned-0", "tuned-1"):
        (models / name / "README.md").unlink()
    qwen = qwen2(models / "qwen-0")
    fine_tuned(qwen, models / "qwen-1", seed=3)
    llama(models / "wide", hidden=32)
    found = scout(models)
    assert bases(found) == [None, None] and not found.unread
    assert [[each.reference for each in group.members] for group in found.groups] == [
        ["models/base", "models/tuned-0", "models/tuned-1"],
        ["models/qwen-0", "models/qwen-1"],
    ]
    assert out(found) == {"models/wide": "fits no other model"}


def test_each_base_has_its_group(models: Path) -> None:
    """Of two families; one that names both the wrong base and a chain of bases; the largest group first."""
    qwen = qwen2(models / "qwen")
    for i in range(3):
        write_card(fine_tuned(qwen, models / f"qwen-{i}", seed=i), base="../qwen")
    write_card(fine_tuned(models / "tuned-0", models / "third", seed=9), base="../tuned-0")
    write_card(fine_tuned(models / "base", models / "lost", seed=8), base="../qwen")
    write_card(qwen2(models / "wide", hidden=32), base="../base")
    llama(models / "unnamed", hidden=32)
    found = scout(models)
    assert {group.base: [each.reference for each in group.members] for group in found.groups} == {
        "models/qwen": [f"models/qwen-{i}" for i in range(3)],
        "models/base": ["models/lost", "models/tuned-0", "models/tuned-1"],
        "models/tuned-0": ["models/third"],
    }
    assert out(found) == {
        "models/base": "the base itself",
        "models/qwen": "the base itself",
        **dict.fromkeys(("models/unnamed", "models/wide"), "another architecture or size"),
    }
    assert "models/base" in str(one(found, "models/wide").exclusion)
    assert "in models/base" in str(one(found, "models/unnamed").exclusion)
    given = scout(models, base="models/qwen")
    assert given.base == "models/qwen" and bases(given) == ["models/qwen"]
    assert {*out(given)} == {*out(found), "models/lost", "models/third", "models/tuned-0", "models/tuned-1"}


def test_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    found = scout("zoo")
    names = ["zoo/pool/base", "zoo/base", "zoo/pictures/base/unet", "zoo/sight/base"]
    assert bases(found) == names and [len(group.members) for group in found.groups] == [20, 5, 5, 5]
    assert out(found) == {
        **dict.fromkeys(names, "the base itself"),
        "zoo/pictures/judge": "fits no other model",
        "zoo/pool/base+zoo/pool/tutor": "a licence that forbids derivatives",
        "zoo/pool/gpt": "fits no other model",
        "zoo/pool/other-tokens": "another vocabulary",
        "zoo/pool/wide": "another architecture or size",
    }


def test_two_models_that_name_each_other(models: Path) -> None:
    write_card(models / "tuned-0", base="../tuned-1")
    write_card(models / "tuned-1", base="../tuned-0")
    found = scout(models / "tuned-0", models / "tuned-1")
    assert len(mergeable(found)) == 2 and not found.excluded


def test_a_named_base_that_cannot_be_read(models: Path) -> None:
    (models / "base" / "model.safetensors").write_bytes(b"")
    found = scout(models)
    assert bases(found) == [None] and len(mergeable(found)) == 2
    assert out(found) == {"models/base": "unreadable"} and [*found.unread] == ["models/base"]


def test_loras(models: Path) -> None:
    """Of the base, of another candidate, of an unreadable one, of none of them, and of a wrong width."""
    for name, trained_on in (("a", "org/base"), ("b", "../tuned-0"), ("c", "org/else"), ("d", "../tuned-1")):
        write_lora(models / name, trained_on)
    write_card(models / "a", licence="cc-by-nd-4.0")
    (models / "tuned-1" / "model.safetensors").write_bytes(b"nothing")
    write_lora(models / "e", "org/base")
    save_file(
        {"base_model.model.model.norm.weight": torch.ones(24)}, models / "e" / "adapter_model.safetensors"
    )
    found = scout(models)
    assert mergeable(found) == ["models/tuned-0", "models/tuned-0+models/b"]
    assert out(found) == {
        "models/base": "the base itself",
        "models/base+models/a": "a licence that forbids derivatives",
        "models/c": "a LoRA whose base was not found",
        "models/d": "a LoRA whose base was not found",
        "models/tuned-1": "unreadable",
        "models/e": "unreadable",
    }
    lora = one(found, "models/tuned-0+models/b")
    assert lora.facts.n_parameters == 16 and lora.claimed_base == "../tuned-0"


@pytest.mark.parametrize("base", ["./models/base", "models/base"])
def test_a_lora_of_a_given_base_that_is_not_a_candidate(models: Path, base: str) -> None:
    for name, trained_on in (("a", "org/base"), ("b", "../base")):
        write_lora(models / name, trained_on)
    found = scout(models / "a", models / "b", base=base)
    assert mergeable(found) == [f"{base}+models/a", f"{base}+models/b"]


def test_a_lora_as_a_run_yaml_names_it(models: Path) -> None:
    write_lora(models / "lora", "nobody/knows")
    found = scout("models/tuned-0+models/lora", base="models/base")
    assert mergeable(found) == ["models/tuned-0+models/lora"]
    write_lora(models / "twice", "../base")
    found = scout("models/base", "models/twice", "./models/base+models/twice")
    assert mergeable(found) == ["models/base+models/twice"]


def test_models_are_closed(tmp_path: Path) -> None:
    """The base and the candidate that is being read are open, and nothing in the end."""
    base = llama(tmp_path / "base")
    for i in range(6):
        write_card(Path(shutil.copytree(base, tmp_path / f"copy-{i}")), base="../base")
    n_open: list[int] = []

    def count(_: int) -> None:
        gc.collect()
        n_open.append(sum(issubclass(type(each), Checkpoint) for each in gc.get_objects()))

    gc.collect()
    gc.freeze()  # what other tests left behind
    try:
        found = catalogue(find_places([str(tmp_path)]), advance=count)
        count(0)
    finally:
        gc.unfreeze()
    assert found.n_mergeable == 6 and len(n_open) == 8
    assert 0 < max(n_open) <= 3 and n_open[-1] == 0

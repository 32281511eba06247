"""References: model, revision and LoRA, in folders and on the Hub (its cache on disk, without a network)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from kingyo.core.io.model_names import local_path
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.adapter import DIFFUSERS_WEIGHTS
from kingyo.merging.checkpoints.model_reference import (
    ModelReference,
    parse_reference,
    path_from,
    whole_model,
)
from tests.hub import OPEN
from tests.models_on_disk import llama

COMMITS = ("0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("org/name", ("org/name", None, None, None)),
        ("org/name@main", ("org/name", "main", None, None)),
        ("org/name@refs/pr/3", ("org/name", "refs/pr/3", None, None)),
        ("org/name+org/lora", ("org/name", None, "org/lora", None)),
        ("org/name@v1.0+org/lora@v2", ("org/name", "v1.0", "org/lora", "v2")),
        ("./folder", ("./folder", None, None, None)),
        ("/whole/path", ("/whole/path", None, None, None)),
        ("./folder+./lora", ("./folder", None, "./lora", None)),
        ("./folder+org/lora@v2", ("./folder", None, "org/lora", "v2")),
        ("C:\\models\\one", ("C:\\models\\one", None, None, None)),
        ("/home/me@work/model", ("/home/me@work/model", None, None, None)),
    ],
)
def test_parts(text: str, parts: tuple[str | None, ...]) -> None:
    parsed = parse_reference(text)
    assert (parsed.model, parsed.revision, parsed.lora, parsed.lora_revision) == parts
    assert str(parsed) == text


@given(st.text(max_size=30))
def test_any_text_is_parts_or_one_clear_error(text: str) -> None:
    try:
        assert str(parse_reference(text)) == text
    except KingyoError as error:
        assert error.remedy


ODD = ("a+b", "a@b", "org+x@y/name", "a+", "+", "@", "1+1=2@home")


@pytest.mark.parametrize("name", ODD)
def test_names_of_existing_folders_are_not_split(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    assert parse_reference(name, tmp_path) == ModelReference(model=name)
    assert parse_reference(f"{name}+org/lora", tmp_path) == ModelReference(model=name, lora="org/lora")
    assert parse_reference(f"org/name+{name}", tmp_path) == ModelReference(model="org/name", lora=name)


def test_existing_folders_decide_between_plus_signs(tmp_path: Path) -> None:
    for name in ("a+b", "c+d"):
        (tmp_path / name).mkdir()
    assert parse_reference("a+b+c+d", tmp_path) == ModelReference(model="a+b", lora="c+d")


@pytest.mark.parametrize(
    "text", ["", "  ", "org/name+", "+org/name", "org/name@", "org/name@a b", "org/name@a@b"]
)
def test_invalid_references(text: str) -> None:
    with pytest.raises(KingyoError):
        parse_reference(text)


class TestNamesInAFolder:
    """Paths of files in a recipe that may be published."""

    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A run in a home folder, with models next to it and below it."""
        home = tmp_path / "home" / "somebody"
        for each in ("run/zoo/a", "models/b"):
            (home / each).mkdir(parents=True)
        monkeypatch.setenv("HOME", str(home))
        return home / "run"

    def test_they_are_relative_to_it(self, run: Path) -> None:
        for out in (run / "out", run / "of" / "it"):
            for name in ("zoo/a", "./zoo/../zoo/a", "../models/b", str(run / "zoo" / "a"), "~/models/b"):
                relative = path_from(out, name, run)
                assert relative.startswith("..") and (out.parent / out.name / "x").is_absolute()
                assert Path(os.path.normpath(out / relative)).samefile(local_path(name, run))
        assert whole_model("zoo/a+../models/b", run, run / "out") == "../zoo/a+../../models/b"
        assert whole_model("org/name@v1", run, run / "out") == "org/name@v1"

    def test_they_are_unchanged_if_a_relative_path_would_name_the_home(self, run: Path) -> None:
        for out in (run.parent.parent / "other" / "out", Path("/out")):
            for name in ("zoo/a", "../models/b", "~/models/b"):
                assert path_from(out, name, run) == name

    def test_a_link_to_another_disk_is_not_followed(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "disk" / "c").mkdir(parents=True)
        (run / "big").symlink_to(tmp_path / "disk")
        assert path_from(run / "out", "big/c", run) == "../big/c"
        (tmp_path / "d").mkdir()
        assert path_from(tmp_path / "out", "big/../d", run) == "../d"


def test_full_models(tmp_path: Path) -> None:
    for name in ("m", "lora", "odd+name"):
        (tmp_path / name).mkdir()
    assert whole_model("m", tmp_path) == f"{tmp_path}/m"
    assert whole_model("m+lora", tmp_path) == f"{tmp_path}/m+{tmp_path}/lora"
    assert whole_model("org/name@v1+lora", tmp_path) == f"org/name@v1+{tmp_path}/lora"
    assert whole_model("odd+name+org/lora@v1", tmp_path) == f"{tmp_path}/odd+name+org/lora@v1"
    for reference in ("m+lora", "odd+name+lora"):
        whole = whole_model(reference, tmp_path)
        assert whole_model(whole, tmp_path / "m") == whole


@pytest.mark.parametrize(
    ("reference", "argument", "received"),
    [
        ("m@main", "m@main", "'@main'"),
        ("m+absent", "absent", "neither"),
        ("absent+lora", "absent", "neither"),
        ("org/name+org/one+org/two", "org/one+org/two", "neither"),
        ("m+m/config.json", "m/config.json", "the file config.json"),
        ("m+m", "m", "neither"),
        ("lora", "lora", "an adapter"),
        ("style", "style", "an adapter"),
        ("./absent", "./absent", "neither"),
        ("m/config.json", "m/config.json", "the file config.json"),
        ("x" * 300, "x" * 300, "neither"),
        ("a\0b", "a\0b", "neither"),
        ("~nobody-has-this-name/m", "~nobody-has-this-name/m", "neither"),
    ],
)
def test_references_of_missing_models(tmp_path: Path, reference: str, argument: str, received: str) -> None:
    llama(tmp_path / "m")
    llama(tmp_path / "org/name")
    write_lora(tmp_path / "lora", 1.0)
    (tmp_path / "style").mkdir()
    save_file({"unet.x.lora_A.weight": torch.ones(1, 1)}, tmp_path / "style" / DIFFUSERS_WEIGHTS)
    with pytest.raises(KingyoError) as caught:
        open_checkpoint(reference, tmp_path)
    assert caught.value.argument.endswith(argument) and received in caught.value.received


def write_lora(folder: Path, value: float) -> Path:
    folder.mkdir(parents=True)
    module = "base_model.model.model.norm"
    save_file({f"{module}.weight": torch.full((16,), value)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 1, "base_model_name_or_path": "org/base"})
    )
    return folder


def on_hub(cache: Path, name: str, commit: str, **refs: str) -> Path:
    """Return the folder of a snapshot in a Hub cache; ``refs`` are branches and tags."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True, exist_ok=True)
    for ref, target in {"main": commit, **refs}.items():
        (home / "refs" / ref).write_text(target)
    return home / "snapshots" / commit


def test_models_and_adapters_on_the_hub(tmp_path: Path) -> None:
    cache, here = tmp_path / "cache", tmp_path / "here"
    llama(on_hub(cache, "org/name", COMMITS[0]))
    write_lora(on_hub(cache, "org/lora", COMMITS[0]), 2.0)
    write_lora(on_hub(cache, "org/lora", COMMITS[1], old=COMMITS[0]), 3.0)
    llama(here / "m")
    write_lora(here / "lora", 4.0)
    answers = {
        "org/name+org/lora": "3.0",
        "org/name@main+org/lora@main": "3.0",
        f"org/name@{COMMITS[0]}+org/lora@old": "2.0",
        f"m+org/lora@{COMMITS[0]}": "2.0",
        "org/name+lora": "4.0",
        "m+lora": "4.0",
        "org/name+org/absent": "org/absent: expected a folder or a .safetensors with an adapter",
        "org/name@v9": "org/name@v9: expected a folder or a .safetensors with a model",
        "org/name+org/name": "expected a folder with adapter_config.json",
    }
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", OPEN, "model.norm.weight", *answers]
    done = subprocess.run(command, env=environment, cwd=here, capture_output=True, text=True, check=True)
    for (reference, expected), line in zip(answers.items(), done.stdout.splitlines(), strict=True):
        assert expected in line, reference

"""Candidates on the Hub: listings, names, and what is never downloaded."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.merging import write_lora
from tests.hub import PAGE, Hub, serve
from tests.models_on_disk import fine_tuned, llama
from tests.scout.shelves import pickled, write_card
from tests.tiny_pipelines import stable_diffusion


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    base = llama(root / "org" / "base", hidden=128)
    for i in range(2 * PAGE):
        write_card(fine_tuned(base, root / "org" / f"tuned-{i}", seed=i))
    pickled(root / "org" / "tuned-3")
    write_lora(root / "org" / "lora", "org/base")
    write_card(root / "org" / "lora")
    norm = {"base_model.model.model.norm.weight": torch.ones(128)}
    save_file(norm, root / "org" / "lora" / "adapter_model.safetensors")
    stable_diffusion(root / "org" / "pictures")
    with serve(root) as hub:
        yield hub


@pytest.fixture
def hub(served: Hub) -> Hub:
    served.sent.clear()
    served.listings.clear()
    served.refusals.clear()
    return served


def scout(hub: Hub, folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kingyo", "scout", *arguments],
        cwd=folder,
        env=os.environ | hub.environment(folder / "home") | env,
        capture_output=True,
        text=True,
        check=False,
    )


def unreadable(hub: Hub, folder: Path, name: str, **env: str) -> str:
    """Return why the only candidate cannot be read."""
    done = scout(hub, folder, name, "--json", **env)
    (candidate,) = json.loads(done.stdout)["excluded"]
    assert done.returncode == 1 and candidate["excluded"]["reason"] == "unreadable"
    return candidate["excluded"]["detail"]


def test_models_of_a_tag(hub: Hub, tmp_path: Path) -> None:
    done = scout(hub, tmp_path, "hub:base_model:finetune:org/base", "--json")
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)["groups"]
    assert group["base"] == "org/base" and len(group["candidates"]) == 2 * PAGE - 1
    assert len(hub.listings) >= 2


def test_after_a_rate_limit_nothing_is_missing_and_no_weights_are_sent(hub: Hub, tmp_path: Path) -> None:
    hub.refusals[:] = [429]
    names = [f"org/tuned-{i}" for i in range(2 * PAGE)]
    done = scout(hub, tmp_path, *names, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (group,) = found["groups"]
    assert group["base"] == "org/base"
    assert [each["reference"] for each in group["candidates"]] == names[:-1]
    (pickle,) = found["excluded"]
    assert (pickle["reference"], pickle["excluded"]["reason"]) == ("org/tuned-3", "only pickles")
    whole = sum(file.stat().st_size for file in hub.root.glob("*/*/model.safetensors"))
    assert 0 < hub.n_sent("model.safetensors") < whole / 4
    assert not hub.n_sent(".bin") and not hub.n_sent("lora/adapter_model.safetensors")


def test_names_adapters_pipelines_and_names_that_are_wrong(hub: Hub, tmp_path: Path) -> None:
    names = ("org/tuned-0@main", "org/lora", "org/pictures")
    done = scout(hub, tmp_path, *names, "--base", "org/base", "--allow-pickle", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (group,) = found["groups"]
    assert [each["reference"] for each in group["candidates"]] == ["org/tuned-0@main", "org/base+org/lora"]
    assert {each["reference"]: each["excluded"]["reason"] for each in found["excluded"]} == {
        "org/pictures/unet": "another architecture or size",
    }


def test_a_hub_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    detail = unreadable(hub, tmp_path, "org/base", HF_ENDPOINT="http://127.0.0.1:9")
    assert "no such folder here; and from the Hub ConnectError: " in detail


def test_pipelines_whose_cards_name_another(hub: Hub, tmp_path: Path) -> None:
    """The base is the component of the pipeline that a card names."""
    shutil.copytree(hub.root / "org" / "pictures", hub.root / "org" / "style")
    write_card(hub.root / "org" / "style", base="org/pictures")
    done = scout(hub, tmp_path, "org/style", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    (group,) = found["groups"]
    assert group["base"] == "org/pictures/unet" and group["candidates"][0]["reference"] == "org/style/unet"
    assert not hub.n_sent("vae/diffusion_pytorch_model.safetensors")


def test_weights_whose_header_is_broken_are_not_downloaded(hub: Hub, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(hub.root / "org" / "base", hub.root / "org" / "broken"))
    (broken / "model.safetensors").write_bytes(b"x" * 2_000_000)
    assert unreadable(hub, tmp_path, "org/broken")
    assert hub.n_sent("broken/model.safetensors") < 1_000_000


def test_a_header_with_a_tensor_twice_is_found_without_a_download(hub: Hub, tmp_path: Path) -> None:
    twice = Path(shutil.copytree(hub.root / "org" / "base", hub.root / "org" / "twice"))
    raw = (twice / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    name, value = next((k, v) for k, v in json.loads(raw[8:end]).items() if k != "__metadata__")
    header = raw[8:end].rstrip()[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}".encode()
    (twice / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + raw[end:])
    assert f"the key '{name}' twice" in unreadable(hub, tmp_path, "org/twice")


def test_weights_are_downloaded_once(hub: Hub, tmp_path: Path) -> None:
    """A LoRA is read on its model, and all files come from the cache the second time."""
    names = ("org/tuned-0", "org/tuned-1", "org/base+org/lora", "--base", "org/base")
    done = scout(hub, tmp_path, *names, "--weights", "--json")
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)["groups"]
    members = {each["reference"]: each for each in group["structure"]["members"]}
    assert set(members) == {"org/tuned-0", "org/tuned-1", "org/base+org/lora"}
    assert all(each["delta_norm"] > 0 for each in members.values())
    assert members["org/base+org/lora"]["layers"]["head"] == 1
    n = hub.n_sent(".safetensors")
    again = scout(hub, tmp_path, *names, "--weights", "--json")
    assert json.loads(again.stdout)["groups"] == [group] and hub.n_sent(".safetensors") == n

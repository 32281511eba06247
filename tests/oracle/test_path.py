"""Paths against mergekit: a frankenmerge in transformers matches the live path."""

from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from kingyo.cli import app
from kingyo.merging.recipe import Hop, Recipe, path_as_slices
from kingyo.models.layers import Layers
from tests.decoders import ARCHITECTURES, far, logits, save_pair
from tests.oracle.peer import Peer, read_tensors

pytestmark = pytest.mark.oracle

# mergekit 0.1.5 stacks no GPT-NeoX (it asks for buffers that transformers no longer stores) and no Qwen (it
# changes the number of layers beside the list of their types, which transformers 5 refuses).
FRANKEN = (("a", 0, 3), ("b", 1, 4), ("a", 2, 4))


@pytest.mark.parametrize("kind", ["llama", "mistral, sliding", "gemma", "gpt2"])
def test_mergekits_frankenmerge_is_the_path(kind: str, tmp_path: Path, peer: Peer) -> None:
    save_pair(ARCHITECTURES[kind], ARCHITECTURES[kind], tmp_path)
    hops = tuple(
        Hop(model=str(tmp_path / model), layer=layer)
        for model, first, end in FRANKEN
        for layer in range(first, end)
    )
    recipe = Recipe(merge_method="passthrough", slices=path_as_slices(hops), dtype="float32")
    out = peer.folder(recipe.to_dict())
    theirs = AutoModelForCausalLM.from_pretrained(out).eval()
    models = {
        str(tmp_path / name): AutoModelForCausalLM.from_pretrained(tmp_path / name).eval() for name in "ab"
    }
    live = Layers(models).follow(hops, str(tmp_path / "a"))
    assert theirs.config.num_hidden_layers == len(hops)
    assert far(logits(live), logits(theirs)) < 1e-5


def test_a_path_written_as_slices_is_mergekits_model_with_the_bases_ends(
    tmp_path: Path, peer: Peer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kingyo recipe --as slices` to mergekit, and the path itself by `kingyo merge`: the same weights."""
    save_pair(ARCHITECTURES["llama"], ARCHITECTURES["llama"], tmp_path)
    hops = tuple(Hop(model=str(tmp_path / "b"), layer=layer) for layer in (1, 2, 2))
    path = Recipe(merge_method="passthrough", path=hops, base_model=str(tmp_path / "a"), dtype="float32")
    (tmp_path / "path.yaml").write_text(path.to_yaml())
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    app(["recipe", "path.yaml", "--as", "slices"], standalone_mode=False)
    theirs = read_tensors(peer.folder(yaml.safe_load(capsys.readouterr().out)))
    app(["merge", "path.yaml", "ours"], standalone_mode=False)
    ours = read_tensors(tmp_path / "ours")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

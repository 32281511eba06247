"""`kingyo layers`: the table, JSON, errors, and models that see."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import World
from tests.cli.path_runs import of_other_tokens
from tests.models_on_disk import llama


def test_the_output_of_a_layer_is_the_input_of_the_next(world: World) -> None:
    similarity = world.data("layers", "run.yaml")
    assert similarity["places"] == ["a.0", "a.1", "a.2", "a.3", "b.0", "b.1", "b.2", "b.3"]
    assert (similarity["layers"], similarity["prompts"]) == ({"a": 3, "b": 3}, 16)
    assert [similarity["cosine"][i][i] for i in range(8)] == pytest.approx([1] * 8)
    assert similarity["cosine"][1][5] == similarity["cosine"][5][1] < 0.999
    lines = [line.split() for line in world.ok("layers", "run.yaml", "--items", "4").stdout.splitlines()]
    assert "prompts." in lines[2] and lines[2][lines[2].index("prompts.") - 1] == "4"
    head = lines.index(["A.0", "A.1", "A.2", "B.0", "B.1", "B.2"])
    rows = {line[0]: line[1:] for line in lines[head + 2 :] if line}
    assert rows["A.0"][1] == "1.00" and list(rows) == ["A.0", "A.1", "A.2", "B.0", "B.1", "B.2"]


def test_a_changed_layer_changes_what_follows_it_only(world: World) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(world.folder / "a" / "model.safetensors")
    (name,) = (each for each in tensors if "layers.1." in each and "down_proj" in each)
    tensors[name] = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(0))
    save_file(tensors, world.folder / "b" / "model.safetensors", metadata={"format": "pt"})
    cosine = world.data("layers", "run.yaml")["cosine"]
    assert [round(cosine[k][4 + k], 6) for k in range(2)] == [1, 1]
    assert cosine[2][6] < 0.99


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: llama(folder, hidden=32), "hidden_size of other: expected 16, as in a"),
        (of_other_tokens, "expected one id for each token"),
    ],
)
def test_models_that_do_not_fit_are_refused(world: World, make: Any, says: str) -> None:
    make(world.folder / "other")
    done = world.fails("layers", world.config(base=None, sources={"a": "a", "other": "other"}))
    assert says in " ".join(done.stderr.split())


def test_language_parts_are_compared_on_images(tmp_path: Path) -> None:
    """The frame is `see-en`, though `ja` is the first source; so both models begin with its embeddings."""
    pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
    root = Path(__file__).parents[2]
    sight = root / "zoo" / "sight"
    run = yaml.safe_load((root / "examples" / "sight" / "run.yaml").read_text())
    task = {**run["task"], "data": str(sight / "tasks" / "questions-ja.jsonl")}
    sources = {name: str(sight / name) for name in ("ja", "see-en")}
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({**run, "sources": sources, "task": task, "base": None})
    )
    similarity = World(folder=tmp_path).data("layers", "run.yaml", "--items", "12")
    assert similarity["layers"] == {"ja": 6, "see-en": 6}
    assert similarity["tokens"] > 12 * 9, "each image has nine tokens"
    assert similarity["cosine"][0][7] == pytest.approx(1)
    assert similarity["cosine"][6][13] < 0.999

"""Merges of models with other vocabularies: rows in the output's order, its config and its files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from kingyo.errors import KingyoError
from kingyo.merging.engine import compute, into, open_sources, plan, to_folder
from kingyo.merging.engine.preflight import check_merge
from kingyo.merging.engine.record import heading
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import loaded
from tests.merging.vocabulary.makers import EMBEDDING, HEAD, llama, weights, words

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with two words in common, and a third that is not merged."""
    root = tmp_path_factory.mktemp("vocabularies")
    llama(root / "one", words("koi", "carp", "pond"), seed=1)
    llama(root / "two", words("pond", "koi", "tail"), seed=2, template=CHAT)
    llama(root / "third", words("fin"), seed=3)
    return root


def recipe(**more: Any) -> Recipe:
    models = [{"model": "one"}, {"model": "two"}]
    data = {"merge_method": "linear", "models": models, "parameters": {"weight": [0.25]}}
    return Recipe.from_dict(data | more)


def tokens(folder: Path) -> dict[str, int]:
    return AutoTokenizer.from_pretrained(folder).get_vocab()


def test_a_union_has_the_words_of_both(folder: Path, tmp_path: Path) -> None:
    spec = recipe(tokenizer={"source": "union"})
    planned = plan(spec, open_sources(spec, folder))
    out = to_folder(planned, tmp_path / "out")
    theirs = {name: (tokens(folder / name), weights(folder / name)) for name in ("one", "two")}
    union, merged = tokens(out), weights(out)
    assert set(union) == set(theirs["one"][0]) | set(theirs["two"][0])
    for tensor in (EMBEDDING, HEAD):
        for word, row in union.items():
            rows = [tensors[tensor][ids[word]] for ids, tensors in theirs.values() if word in ids]
            assert torch.allclose(merged[tensor][row], torch.stack(rows).mean(0), atol=1e-6), word
    assert json.loads((out / "config.json").read_text())["vocab_size"] == len(union) == len(merged[HEAD])
    model = loaded(out)
    live = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    into(planned, live)
    assert all(torch.equal(live[name], tensor) for name, tensor in model.state_dict().items())
    assert any("vocabulary: " in line for line in heading(planned))


def test_the_vocabulary_is_built_once_for_all_candidates(folder: Path) -> None:
    spec = recipe(tokenizer_source="union")
    opened = open_sources(spec, folder)
    assert plan(spec, opened).sources is plan(spec, opened).sources
    other = recipe(tokenizer_source="base")
    assert plan(other, opened).sources is not plan(spec, opened).sources


def test_the_vocabulary_of_a_model_that_is_not_merged(folder: Path, tmp_path: Path) -> None:
    listed = {"fin": {"source": "third"}, "tail": {"source": {"kind": "zero"}}}
    tokenizer = {"source": "two", "tokens": listed}
    spec = recipe(tokenizer=tokenizer, models=[{"model": "one"}])
    opened = open_sources(spec, folder)
    assert set(opened) == {"one", "two", "third"}
    out = to_folder(plan(spec, opened), tmp_path / "out")
    token_ids, fin = tokens(out), tokens(folder / "third")["fin"]
    assert set(token_ids) == {*tokens(folder / "two"), "fin"}
    assert torch.equal(weights(out)[EMBEDDING][token_ids["fin"]], weights(folder / "third")[EMBEDDING][fin])


def test_slices_with_a_different_vocabulary(folder: Path) -> None:
    slices = [{"sources": [{"model": model, "layer_range": [0, 1]}]} for model in ("one", "two")]
    data = {"merge_method": "passthrough", "slices": slices, "tokenizer_source": "union"}
    spec = Recipe.from_dict(data)
    planned = plan(spec, open_sources(spec, folder))
    n_words = len(set(tokens(folder / "one")) | set(tokens(folder / "two")))
    assert {job.name: job.shape for job in planned.jobs}[HEAD] == (n_words, 16)
    assert planned.like.config["vocab_size"] == n_words and planned.like.config["num_hidden_layers"] == 2
    assert all(compute(job, planned.sources.read).shape == job.shape for job in planned.jobs)


def test_a_template_alone(folder: Path, tmp_path: Path) -> None:
    spec = recipe(models=[{"model": "one"}, {"model": "one"}], chat_template="chatml")
    out = to_folder(plan(spec, open_sources(spec, folder)), tmp_path / "out")
    assert "<|im_start|>" in (out / "chat_template.jinja").read_text()
    assert tokens(out) == tokens(folder / "one")
    spec = recipe(tokenizer_source="base", chat_template="auto")
    out = to_folder(plan(spec, open_sources(spec, folder)), tmp_path / "auto")
    assert (out / "chat_template.jinja").read_text() == CHAT


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KingyoError, match="tokenizer: expected a known key; received 'sauce'"):
        open_sources(recipe(tokenizer={"sauce": "union"}), folder)
    vit = str(build("vit", tmp_path / "vit"))
    spec = recipe(models=[{"model": vit}], tokenizer_source="base")
    with pytest.raises(KingyoError, match="expected a token embedding, since the recipe sets a tok"):
        plan(spec, open_sources(spec, folder))


def test_a_merge_with_a_new_tokenizer_can_be_merged_again(folder: Path, tmp_path: Path) -> None:
    first = recipe(tokenizer_source="union").to_yaml()
    second = recipe(
        tokenizer_source="base", models=[{"model": "first"}, {"model": "third"}], base_model="first"
    )
    file = tmp_path / "book.yaml"
    file.write_text(f"name: first\n{first}---\n{second.to_yaml()}")
    for name in ("one", "two", "third"):
        (tmp_path / name).symlink_to(folder / name)
    checked = check_merge(file, tmp_path / "out")
    out = to_folder(checked.outputs[0].plan, tmp_path / "out")
    spec = recipe(tokenizer_source="union")
    to_folder(plan(spec, open_sources(spec, folder)), tmp_path / "step")
    after = second.renamed(lambda reference: "step" if reference == "first" else reference)
    again = to_folder(plan(after, open_sources(after, tmp_path)), tmp_path / "again")
    assert tokens(out) == tokens(again) and len(tokens(out)) == 7
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(out).items())

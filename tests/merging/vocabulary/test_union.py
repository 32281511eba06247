"""A union of tokenizers gives the right rows for the text of every source, for every kind."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken

from kingyo.errors import KingyoError
from kingyo.merging.engine import open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from kingyo.merging.vocabulary import TokenizerChoice, build_vocabulary
from tests.merging.checkpoints.fitting import restate
from tests.merging.vocabulary import makers
from tests.merging.vocabulary.makers import (
    DEUTSCH,
    FISH,
    KINDS,
    TEXTS,
    cut,
    llama,
    load_tokenizer,
    models_of,
    tokens_and_logits,
    words,
    write_files,
)

UNION = TokenizerChoice()
START, END = AddedToken("<|im_start|>", special=True), AddedToken("<|im_end|>", special=True)
CHAT = "<|im_start|>the old pond<|im_end|>"


@pytest.mark.parametrize("kind", KINDS)
def test_an_extension(kind: str, tmp_path: Path) -> None:
    """The second model has all pieces of the first and more, with other ids."""
    small = llama(tmp_path / "small", makers.small(kind), seed=1)
    large = llama(tmp_path / "large", makers.large(kind), seed=2, added=[START, END])
    vocabulary = build_vocabulary(UNION, models_of(small, large, base=0))
    models = [
        {"model": str(each), "parameters": {"weight": weight}} for each, weight in ((small, 0), (large, 1))
    ]
    recipe = {
        "merge_method": "linear",
        "base_model": str(small),
        "models": models,
        "tokenizer_source": "union",
    }
    spec = Recipe.from_dict(recipe)
    out = to_folder(plan(spec, open_sources(spec)), tmp_path / "out")
    loaded = load_tokenizer(out)
    first, second = (load_tokenizer(folder).get_vocab() for folder in (small, large))
    assert loaded.get_vocab() == vocabulary.tokens
    assert vocabulary.tokens.keys() == first.keys() | second.keys()
    assert {token: vocabulary.tokens[token] for token in first} == first
    assert sorted(vocabulary.tokens.values()) == list(range(vocabulary.n_rows))
    for text in (*TEXTS, CHAT):
        tokens, logits, columns = tokens_and_logits(out, text)
        wanted_tokens, expected, wanted_columns = tokens_and_logits(large, text)
        assert tokens == wanted_tokens
        chosen = logits[:, [columns[token] for token in wanted_columns]]
        torch.testing.assert_close(chosen, expected[:, list(wanted_columns.values())])
    reverse = build_vocabulary(UNION, models_of(small, large, base=1))
    assert reverse.files["tokenizer.json"] == (large / "tokenizer.json").read_bytes()
    assert reverse.map.is_identity("large")


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_for_different_languages(kind: str, tmp_path: Path) -> None:
    """Every text of every source decodes to itself, and no token is lost."""
    fish = llama(tmp_path / "fish", makers.fish(kind))
    karpfen = llama(tmp_path / "karpfen", makers.deutsch(kind), added=[START])
    vocabulary = build_vocabulary(UNION, models_of(fish, karpfen, base=0))
    base = load_tokenizer(fish)
    loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
    assert loaded.get_vocab() == vocabulary.tokens
    for source, texts in ((fish, FISH), (karpfen, DEUTSCH)):
        tokenizer = load_tokenizer(source)
        for text in texts:
            ids, expected_ids = loaded(text)["input_ids"], tokenizer(text)["input_ids"]
            assert loaded.decode(ids) == tokenizer.decode(expected_ids)
            assert loaded.unk_token_id not in ids
            assert len(ids) <= len(base(text)["input_ids"])  # pieces are joined, none is split


def test_a_control_token_known_to_the_base_as_a_piece_is_matched(tmp_path: Path) -> None:
    """A fine-tuned model made control tokens of reserved words."""
    tokenizer = makers.byte_bpe(TEXTS, 320)
    data = json.loads(tokenizer.to_str())
    data["model"]["vocab"]["<|x|>"] = len(data["model"]["vocab"])
    hidden = llama(tmp_path / "hidden", type(tokenizer).from_str(json.dumps(data)))
    shown = llama(tmp_path / "shown", makers.byte_bpe(TEXTS, 320), added=["<|x|>"])
    vocabulary = build_vocabulary(UNION, models_of(hidden, shown, base=0))
    loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
    assert cut(loaded, "pond<|x|>pond") == cut(load_tokenizer(shown), "pond<|x|>pond")
    assert vocabulary.tokens == load_tokenizer(hidden).get_vocab()


class TestOddTokenizers:
    def test_a_token_beyond_the_embedding_does_not_count(self, tmp_path: Path) -> None:
        whole = llama(tmp_path / "whole", words("a"))
        ghost = llama(tmp_path / "ghost", words("a", "b"), added=["<g1>", "<g2>"], rows=6)
        vocabulary = build_vocabulary(UNION, models_of(whole, ghost, base=0))
        assert list(vocabulary.tokens) == ["<unk>", "<s>", "</s>", "a", "b", "<g1>"]

    @pytest.mark.parametrize("kind", ["byte_bpe", "word_piece", "word_level"])
    def test_ids_with_holes_stay(self, kind: str, tmp_path: Path) -> None:
        data = json.loads(makers.small(kind).to_str())
        last = max(data["model"]["vocab"], key=data["model"]["vocab"].get)
        data["model"]["vocab"][last] += 3
        small = llama(tmp_path / "small", type(makers.words("a")).from_str(json.dumps(data)), rows=500)
        large = llama(tmp_path / "large", makers.large(kind), added=[START])
        vocabulary = build_vocabulary(UNION, models_of(small, large, base=0))
        assert vocabulary.tokens[last] == data["model"]["vocab"][last]
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        assert loaded.get_vocab() == vocabulary.tokens
        for text in TEXTS:
            assert cut(loaded, text) == cut(load_tokenizer(large), text)

    def test_merges_written_as_text(self, tmp_path: Path) -> None:
        """The format of tokenizers saved before 2024."""
        small = llama(tmp_path / "small", makers.small("byte_bpe"))
        large = llama(tmp_path / "large", makers.large("byte_bpe"))
        for folder in (small, large):
            data = json.loads((folder / "tokenizer.json").read_text())
            data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
            del data["model"]["type"]
            (folder / "tokenizer.json").write_text(json.dumps(data))
        vocabulary = build_vocabulary(UNION, models_of(small, large, base=0))
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        for text in TEXTS:
            assert cut(loaded, text) == cut(load_tokenizer(large), text)

    def test_tokens_that_only_the_config_declares(self, tmp_path: Path) -> None:
        """transformers adds them when it loads a tokenizer, so they have ids and rows."""
        plain = llama(tmp_path / "plain", words("a", "b"))
        late = llama(tmp_path / "late", words("a"), rows=6)
        listed = {"4": {"content": "<late>", "special": True}}
        restate(late, "tokenizer_config.json", pad_token="<pad>", added_tokens_decoder=listed)
        assert load_tokenizer(late).get_vocab()["<late>"] == 4
        assert load_tokenizer(late).get_vocab()["<pad>"] == 5
        vocabulary = build_vocabulary(UNION, models_of(plain, late, base=0))
        assert vocabulary.map.own["late"].tolist() == [0, 1, 2, 3, -1, 4, 5]
        vocabulary = build_vocabulary(UNION, models_of(plain, late, base=1))
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        assert loaded.get_vocab() == vocabulary.tokens == {**load_tokenizer(late).get_vocab(), "b": 6}

    @pytest.mark.parametrize("kind", KINDS)
    def test_base_restores_tokens_of_another_model(self, kind: str, tmp_path: Path) -> None:
        """The last pieces have no row in this model; an added token has none in any model."""
        n_tokens = len(makers.large(kind).get_vocab())
        ghost = llama(tmp_path / "ghost", makers.large(kind), added=["<g1>", "<g2>"], rows=n_tokens - 2)
        other = llama(tmp_path / "other", makers.large(kind), added=["<x>", "<g2>"])
        choice = TokenizerChoice(source="base")
        vocabulary = build_vocabulary(choice, models_of(ghost, other, base=0))
        token_ids = load_tokenizer(ghost).get_vocab()
        assert vocabulary.tokens.keys() == token_ids.keys() - {"<g1>"}
        assert vocabulary.n_rows == n_tokens + 1
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        assert loaded.get_vocab() == vocabulary.tokens
        for text in TEXTS:
            assert cut(loaded, text) == cut(load_tokenizer(ghost), text)


class TestRefusals:
    def test_pieces_with_a_different_spelling(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", makers.large("byte_bpe"))
        two = llama(tmp_path / "two", makers.large("metaspace_bpe"))
        with pytest.raises(KingyoError, match=r"one and two: .*BPE with 'Ġ' .* BPE with '▁'.*source: base"):
            build_vocabulary(UNION, models_of(one, two, base=0))

    def test_no_tokenizer_json(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        two = llama(tmp_path / "two", words("a"))
        (two / "tokenizer.json").unlink()
        (two / "tokenizer.model").write_bytes(b"\n")
        with pytest.raises(KingyoError, match=r"two: .*tokenizer\.json"):
            build_vocabulary(UNION, models_of(one, two))

    @pytest.mark.parametrize("content", ["{", "[]", '{"model": {"type": "Odd", "vocab": {}}}'])
    def test_a_broken_file(self, content: str, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        (one / "tokenizer.json").write_text(content)
        with pytest.raises(KingyoError, match=r"tokenizer\.json"):
            build_vocabulary(UNION, models_of(one))

    @pytest.mark.parametrize("listed", [{"x": {"content": "<a>"}}, {"9": {}}, {"9": None, "y": []}])
    def test_invalid_lists_of_added_tokens(self, listed: object, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        (one / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": listed}))
        with pytest.raises(KingyoError) as caught:
            build_vocabulary(UNION, models_of(one))
        assert caught.value.argument == str(one)

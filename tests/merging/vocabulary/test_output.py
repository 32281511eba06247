"""Files of the output besides weights: tokenizer, ids in configs, chat template."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from kingyo.errors import KingyoError
from kingyo.merging.vocabulary import (
    TokenizerChoice,
    Vocabulary,
    build_vocabulary,
    read_template,
    resolve_template,
    stored_files,
    with_template,
)
from tests.merging.checkpoints.fitting import restate
from tests.merging.vocabulary import makers
from tests.merging.vocabulary.makers import cut, llama, load_tokenizer, models_of, words, write_files


class TestFiles:
    def test_of_an_unchanged_tokenizer_are_copied(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"), template="T")
        (one / "merges.txt").write_text("old")
        (one / "notes.txt").write_text("mine")
        vocabulary = build_vocabulary(TokenizerChoice(source="base"), models_of(one))
        names = {"chat_template.jinja", "merges.txt", "tokenizer.json", "tokenizer_config.json"}
        assert vocabulary.files.keys() == names
        assert all(vocabulary.files[name] == (one / name).read_bytes() for name in names)

    def test_of_a_changed_tokenizer_are_consistent(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"), template="T")
        two = llama(tmp_path / "two", words("a", "b"))
        for name in ("tokenizer.model", "vocab.json", "added_tokens.json"):
            (one / name).write_text("{}")
        (one / "special_tokens_map.json").write_text('{"bos_token": "<s>"}')
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(one, two))
        assert vocabulary.files.keys() == {
            "chat_template.jinja",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        assert vocabulary.template == "T"
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        assert loaded.bos_token == "<s>"
        assert loaded.chat_template == "T"

    def test_the_list_in_older_configs_is_updated(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        two = llama(tmp_path / "two", words("a"), added=[AddedToken("<x>", special=True)])
        listed = {"0": {"content": "<unk>", "special": True}}
        restate(one, "tokenizer_config.json", added_tokens_decoder=listed)
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(one, two))
        listed = json.loads(vocabulary.files["tokenizer_config.json"])["added_tokens_decoder"]
        assert listed["4"]["content"] == "<x>"
        assert "id" not in listed["4"]
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        assert loaded.get_vocab() == vocabulary.tokens

    @pytest.mark.parametrize(
        ("kind", "name", "model_type"),
        [
            ("byte_bpe", "GPT2Tokenizer", "gpt2"),
            ("metaspace_bpe", "LlamaTokenizer", "llama"),
            ("unigram", "XLMRobertaTokenizer", "xlm-roberta"),
            ("unigram", "T5Tokenizer", "t5"),
            ("word_piece", "BertTokenizer", "bert"),
        ],
    )
    def test_classes_of_transformers_read_them(
        self, kind: str, name: str, model_type: str, tmp_path: Path
    ) -> None:
        """Some classes rebuild the tokenizer from the pieces in tokenizer.json, and add their own."""
        small = llama(tmp_path / "small", makers.small(kind))
        large = llama(tmp_path / "large", makers.large(kind), added=["<|im_start|>"])
        for folder in (small, large):
            restate(restate(folder, model_type=model_type), "tokenizer_config.json", tokenizer_class=name)
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(small, large, base=0))
        out = write_files(vocabulary, tmp_path / "out")
        (out / "config.json").write_bytes((small / "config.json").read_bytes())
        loaded, source = load_tokenizer(out), load_tokenizer(large)
        assert vocabulary.tokens.items() <= loaded.get_vocab().items()
        for text in (*makers.TEXTS, "<|im_start|>the old pond"):
            assert cut(loaded, text) == cut(source, text)


@pytest.fixture
def turned(tmp_path: Path) -> Vocabulary:
    """The tokenizer comes from a model with other ids and another end of text."""
    one = llama(tmp_path / "one", words("a", "<pad>"))
    two = llama(tmp_path / "two", words("<end>", "a"), named={"eos_token": "<end>"})
    return build_vocabulary(TokenizerChoice(source="two"), models_of(one, two, base=0))


class TestConfig:
    def test_nothing_changes_if_ids_are_unchanged(self, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"))
        two = llama(tmp_path / "two", words("a", "b"))
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(one, two, base=0))
        config = {"vocab_size": 4, "bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": None, "x": 4}
        assert vocabulary.config_updates(config, "one") == {"vocab_size": 5}

    def test_roles_follow_the_tokenizer(self, turned: Vocabulary) -> None:
        assert turned.tokens == {"<unk>": 0, "<s>": 1, "</s>": 2, "<end>": 3, "a": 4}
        assert turned.config_updates({"eos_token_id": 2, "bos_token_id": 1}, "one") == {"eos_token_id": 3}
        assert turned.config_updates({"eos_token_id": [2, 3]}, "one") == {"eos_token_id": [3, 2, 4]}

    def test_other_ids_follow_their_tokens(self, turned: Vocabulary) -> None:
        config = {
            "image_token_id": 3,
            "suppress_tokens": [1, 3],
            "bad_words_ids": [[3], [1]],
            "decoder_start_token_id": -1,
        }
        assert turned.config_updates(config, "one") == {
            "image_token_id": 4,
            "suppress_tokens": [1, 4],
            "bad_words_ids": [[4], [1]],
        }

    def test_nested_configs(self, turned: Vocabulary) -> None:
        config = {"text_config": {"vocab_size": 5, "x": 1}, "audio_config": {"vocab_size": 7}}
        assert turned.config_updates(config, "one") == {}
        config = {"image_token_id": 3, "text_config": {"image_token_id": 3, "x": 1}}
        assert turned.config_updates(config, "one")["text_config"] == {"image_token_id": 4, "x": 1}

    def test_a_token_that_the_output_lacks(self, turned: Vocabulary) -> None:
        assert turned.config_updates({"pad_token_id": 4}, "one") == {"pad_token_id": None}
        with pytest.raises(KingyoError, match=r"image_token_id .*'<pad>' of one.*tokens:"):
            turned.config_updates({"image_token_id": 4}, "one")


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Fish?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Gold?"},
]
LLAMA3 = (
    "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nFish?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nGold?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nFish?<|im_end|>\n"
    "<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nGold?<|im_end|>\n<|im_start|>assistant\n"
)
EXAONE = (
    "[|system|]Be brief.[|endofturn|]\n[|user|]Fish?\n[|assistant|]Yes.[|endofturn|]\n[|user|]Gold?\n"
    "[|assistant|]"
)
ALPACA = (
    "Be brief.\n\n### Instruction:\nFish?\n\n### Response:\nYes.</s>\n\n### Instruction:\nGold?\n\n"
    "### Response:\n"
)
MISTRAL = "<s>[INST] Be brief.\n\nFish? [/INST] Yes.</s>[INST] Gold? [/INST]"


class TestTemplates:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("chatml", CHATML),
            ("llama3", LLAMA3),
            ("mistral", MISTRAL),
            ("alpaca", ALPACA),
            ("exaone", EXAONE),
        ],
    )
    def test_known_ones(self, name: str, expected: str, tmp_path: Path) -> None:
        one = llama(tmp_path / "one", words("a"), template="old")
        vocabulary = build_vocabulary(TokenizerChoice(), models_of(one), chat_template=name)
        loaded = load_tokenizer(write_files(vocabulary, tmp_path / "out"))
        texts = loaded.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
        assert texts == expected

    def test_auto_is_the_most_common_and_ties_go_to_the_first(self, tmp_path: Path) -> None:
        assert resolve_template("auto", ["A", "B", "B\n", None, ""]) == "B"
        assert resolve_template("auto", ["A", "B"]) == "A"
        assert resolve_template("auto", [None, " "]) is None
        folders = [llama(tmp_path / f"m{i}", words("a"), template=text) for i, text in enumerate("ABB")]
        vocabulary = build_vocabulary(
            TokenizerChoice(source="base"), models_of(*folders), chat_template="auto"
        )
        assert load_tokenizer(write_files(vocabulary, tmp_path / "out")).chat_template == "B"

    def test_other_words(self) -> None:
        with pytest.raises(KingyoError, match=r"chat_template: .*'chatlm'\. Did you mean 'chatml'"):
            resolve_template("chatlm", [])

    def test_it_replaces_other_templates(self, tmp_path: Path) -> None:
        one = restate(llama(tmp_path / "one", words("a")), "tokenizer_config.json", chat_template="old")
        assert read_template(one) == "old"
        files = with_template(stored_files(one), "new {{ x }}")
        assert "chat_template" not in json.loads(files["tokenizer_config.json"])
        assert files["chat_template.jinja"] == b"new {{ x }}"
        assert with_template(files, None).keys() == {"tokenizer.json", "tokenizer_config.json"}

    @pytest.mark.parametrize(
        ("file", "content", "expected"),
        [
            ("chat_template.json", '{"chat_template": "P"}', "P"),
            ("tokenizer_config.json", '{"chat_template": [{"name": "default", "template": "D"}]}', "D"),
            ("tokenizer_config.json", '{"chat_template": [{"name": "rag", "template": "R"}]}', None),
            ("tokenizer_config.json", "{", None),
        ],
    )
    def test_places_of_a_template_in_a_folder(
        self, file: str, content: str, expected: str | None, tmp_path: Path
    ) -> None:
        (tmp_path / file).write_text(content)
        assert read_template(tmp_path) == expected

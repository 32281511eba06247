from __future__ import annotations

import pytest
import yaml

from kingyo.errors import KingyoError
from kingyo.vocabulary import ModelToken, TokenEntry, TokenizerChoice, Zero, parse_tokenizer

WHOLE = """
source: union
tokens:
  <|im_start|>:
    source: path/to/chat
  <|eot_id|>:
    source: path/to/llama
    force: true
  <|old|>:
    source: {kind: model_token, model: path/to/chat, token: <|new|>}
  <|id|>:
    source: {kind: model_token, model: path/to/other, token_id: 7}
  <|empty|>:
    source: {kind: zero}
    force: true
  <|kept|>:
pad_to_multiple_of: 64
"""


def test_reads_every_key() -> None:
    assert parse_tokenizer(yaml.safe_load(WHOLE)) == TokenizerChoice(
        source="union",
        tokens={
            "<|im_start|>": TokenEntry(source=ModelToken(model="path/to/chat")),
            "<|eot_id|>": TokenEntry(source=ModelToken(model="path/to/llama"), force=True),
            "<|old|>": TokenEntry(source=ModelToken(model="path/to/chat", token="<|new|>")),
            "<|id|>": TokenEntry(source=ModelToken(model="path/to/other", token_id=7)),
            "<|empty|>": TokenEntry(source=Zero(), force=True),
            "<|kept|>": TokenEntry(),
        },
        pad_to_multiple_of=64,
    )


@pytest.mark.parametrize("data", [yaml.safe_load(WHOLE), {}, "base", "path/to/model", {"source": "base"}])
def test_round_trip(data: object) -> None:
    choice = parse_tokenizer(data)
    assert parse_tokenizer(choice.to_dict()) == choice
    assert parse_tokenizer(yaml.safe_load(yaml.safe_dump(choice.to_dict()))) == choice


def test_a_text_is_the_source_and_the_default_is_union() -> None:
    assert parse_tokenizer("base") == TokenizerChoice(source="base")
    assert parse_tokenizer({}) == parse_tokenizer({"source": None, "tokens": None}) == TokenizerChoice()


def test_references() -> None:
    choice = parse_tokenizer(yaml.safe_load(WHOLE))
    assert choice.references == ("path/to/chat", "path/to/llama", "path/to/other")
    assert parse_tokenizer("path/to/model").references == ("path/to/model",)
    assert parse_tokenizer("base").references == ()
    assert choice.renamed(lambda each: f"/x/{each}").references == (
        "/x/path/to/chat",
        "/x/path/to/llama",
        "/x/path/to/other",
    )
    assert parse_tokenizer("union").renamed(lambda each: f"/x/{each}").source == "union"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sourse": "union"}, r"received 'sourse'\. Did you mean 'source'"),
        ({"tokens": {"<x>": {"sorce": "a"}}}, r"tokens: '<x>': .* Did you mean 'source'"),
        ({"tokens": {"<x>": {"source": {"kind": "zeros"}}}}, r"'<x>': source: kind: .* Did you mean 'zero'"),
        ({"tokens": {"<x>": {"source": {"modle": "a"}}}}, "Did you mean 'model'"),
        ({"tokens": {"<x>": {"source": {"model": "a", "token": "b"}}}}, "kind: model_token"),
        ({"tokens": {"<x>": {"source": {"kind": "zero", "model": "a"}}}}, "received 'model'"),
        ({"tokens": {"<x>": {"source": {"kind": "model_token", "model": "a"}}}}, "token or token_id"),
        (
            {
                "tokens": {
                    "<x>": {"source": {"kind": "model_token", "model": "a", "token": "b", "token_id": 1}}
                }
            },
            "token or token_id",
        ),
        ({"tokens": {"<x>": {"source": {"kind": "model_token", "token": "b"}}}}, "expected a model, and"),
        ({"tokens": {"<x>": {"source": {"kind": "model_token", "model": "a", "token_id": -1}}}}, "token_id"),
        (
            {"tokens": {"<x>": {"source": {"kind": "model_token", "model": "a", "token_id": True}}}},
            "token_id",
        ),
        (
            {"tokens": {"<x>": {"source": {"kind": "model_token", "model": "a", "token": 1}}}},
            "token: .* text",
        ),
        ({"tokens": {"<x>": {"force": True}}}, "a source to force"),
        ({"tokens": {"<x>": {"source": "a", "force": 1}}}, "true or false"),
        ({"tokens": {"<x>": {"source": 1}}}, "a mapping"),
        ({"tokens": {1: {"source": "a"}}}, "quotes"),
        ({"tokens": ["<x>"]}, "a mapping"),
        ({"pad_to_multiple_of": 0}, "whole number from 1 to 65536"),
        ({"pad_to_multiple_of": "64"}, "whole number from 1 to 65536"),
        ({"pad_to_multiple_of": True}, "whole number from 1 to 65536"),
        ({"source": 1}, "text"),
        ("", "text"),
        (7, "a mapping"),
        (["union"], "a mapping"),
    ],
)
def test_refuses(data: object, message: str) -> None:
    with pytest.raises(KingyoError, match=message) as error:
        parse_tokenizer(data, "recipe.yaml: tokenizer")
    assert str(error.value).startswith("recipe.yaml: tokenizer")

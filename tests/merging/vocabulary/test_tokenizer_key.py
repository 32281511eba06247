import pytest
import yaml

from kingyo.merging.vocabulary.tokenizer_key import (
    ModelToken,
    TokenEntry,
    TokenizerChoice,
    Zero,
    parse_tokenizer,
)
from tests.merging.recipe.mistakes import mistakes

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


def test_a_string_is_the_source_and_the_default_is_union() -> None:
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


SOURCE = "tokens.<x>.source"
TOKEN = {"kind": "model_token", "model": "a"}


def source(value: object) -> dict[str, object]:
    return {"tokens": {"<x>": {"source": value}}}


@pytest.mark.parametrize(
    ("data", "argument", "received"),
    [
        ({"sourse": "union"}, "", "'sourse'"),
        ({"source": 1}, "source", "1"),
        ({"tokens": {1: {"source": "a"}}}, "tokens[1]", "1"),
        ({"tokens": {"<x>": {"sorce": "a"}}}, "tokens.<x>", "'sorce'"),
        ({"tokens": {"<x>": {"force": True}}}, "tokens.<x>: force", "force without source"),
        ({"tokens": {"<x>": {"source": "a", "force": 1}}}, "tokens.<x>.force", "1"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of", "0"),
        ("", "source", "''"),
        (["union"], "", "['union']"),
        (source(1), SOURCE, "1"),
        (source({"kind": "zeros"}), f"{SOURCE}: kind", "'zeros'"),
        (source({"model": "a", "token": "b"}), f"{SOURCE}: kind", "nothing"),
        (source({"kind": "zero", "model": "a"}), SOURCE, "'model'"),
        (source(TOKEN), SOURCE, "model 'a'"),
        (source(TOKEN | {"token": "b", "token_id": 1}), SOURCE, "model 'a', token 'b', token_id 1"),
        (source(TOKEN | {"token_id": -1}), f"{SOURCE}.token_id", "-1"),
        (source({"kind": "model_token", "token": "b"}), f"{SOURCE}.model", "nothing"),
    ],
)
def test_refuses(data: object, argument: str, received: str) -> None:
    assert mistakes(lambda: parse_tokenizer(data, "tokenizer"), "tokenizer") == [(argument, received)]

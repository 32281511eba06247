"""The end of answers, for tokenizers of words, bytes, and pieces with a leading space; chat templates."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kingyo.errors import KingyoError
from kingyo.models.tokens import NoTemplateError, Stop, Text
from tests.models_on_disk import tokenizer as word_level

CORPUS = ["12-3=9。9+8=17。答えは17個です。", "The answer is 17.\n\nQ: how many?\n", "the end. The end"] * 5


def byte_level() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def metaspace() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>"], show_progress=False)
    inner.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


TEXTS = {build.__name__: (Text(build()), len(build())) for build in (word_level, byte_level, metaspace)}
STOPS = ["。", "\n\n", "Q:", "17", "e", "the end", " ", "は1"]


@pytest.mark.parametrize("make", sorted(TEXTS))
@given(data=st.data(), strings=st.lists(st.sampled_from(STOPS), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_answer_ends_with_the_token_that_completes_a_stop_string(make: str, data, strings) -> None:
    text, size = TEXTS[make]
    tokens = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=25))
    stop = Stop(text, strings)
    ends = [n for n in range(1, len(tokens) + 1) if stop.ended(tokens[:n])]
    seen = [
        n
        for n in range(1, len(tokens) + 1)
        if tokens[n - 1] in text.ends or any(each in text.decode(tokens[:n]) for each in strings)
    ]
    assert ends[:1] == seen[:1]
    upto = tokens[: ends[0]] if ends else tokens
    assert not any(each in stop.cut(upto) for each in strings)


@pytest.mark.parametrize("make", [byte_level, metaspace])
def test_japanese_survives_its_tokens(make: Callable[[], PreTrainedTokenizerFast]) -> None:
    text = Text(make())
    assert text.decode(text.encode(CORPUS[0])) == CORPUS[0]


def with_template(template: str | None) -> Text:
    words = word_level()
    words.chat_template = template
    words.name_or_path = "models/bad"
    return Text(words)


@pytest.mark.parametrize(
    ("template", "received"),
    [
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ raise_exception('no users here') }}", "TemplateError: no users here"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_error_that_names_the_model(
    template: str, received: str
) -> None:
    with pytest.raises(KingyoError, match=received) as caught:
        with_template(template).chat_prompt("Hi")
    assert caught.value.argument == "chat template of models/bad"


def test_a_template_is_rendered() -> None:
    assert with_template("<u>{{ messages[0].content }}<m>").chat_prompt("Hi") == "<u>Hi<m>"
    with pytest.raises(NoTemplateError):
        with_template(None).chat_prompt("Hi")


def test_a_template_with_a_date_gives_the_same_prompt_every_day() -> None:
    assert (
        with_template("{{ strftime_now('%d %b %Y %H:%M:%S') }}").chat_prompt("hello")
        == "26 Jul 2024 00:00:00"
    )

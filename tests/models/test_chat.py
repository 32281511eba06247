"""Chat templates that fail give one error that names the model."""

from __future__ import annotations

import pytest

from kingyo.errors import KingyoError
from kingyo.models.tokens import NoTemplateError, Text
from tests.models_on_disk import tokenizer


def text(template: str | None) -> Text:
    words = tokenizer()
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
        text(template).chat_prompt("Hi")
    assert caught.value.argument == "chat template of models/bad"


def test_a_template_is_rendered() -> None:
    assert text("<u>{{ messages[0].content }}<m>").chat_prompt("Hi") == "<u>Hi<m>"
    with pytest.raises(NoTemplateError):
        text(None).chat_prompt("Hi")


def test_a_template_with_a_date_gives_the_same_prompt_every_day() -> None:
    assert text("{{ strftime_now('%d %b %Y %H:%M:%S') }}").chat_prompt("hello") == "26 Jul 2024 00:00:00"

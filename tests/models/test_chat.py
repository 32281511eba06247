"""Chat templates that loop, grow or fail give one error that names the model, on any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kingyo.errors import KingyoError
from kingyo.models import tokens
from kingyo.models.tokens import NoTemplateError, Text
from tests.models_on_disk import tokenizer

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i %}{% endfor %}{% endfor %}"


def text(template: str | None) -> Text:
    words = tokenizer()
    words.chat_template = template
    words.name_or_path = "models/bad"
    return Text(words)


@pytest.mark.parametrize("is_main", [True, False])
@pytest.mark.parametrize(
    ("template", "received"),
    [
        (LOOPS, r"within 0\.5 s; received none"),
        ("{{ 'abcd' * 10**7 }}", "40,000,000 characters"),
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ raise_exception('no users here') }}", "TemplateError: no users here"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_error_that_names_the_model(
    monkeypatch: pytest.MonkeyPatch, template: str, received: str, is_main: bool
) -> None:
    monkeypatch.setattr(tokens, "TEMPLATE_SECONDS", 0.5 if template == LOOPS else 30.0)
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(KingyoError, match=rf"chat template of models/bad: expected .*{received}"),
    ):
        bad = text(template)
        bad.chat_prompt("Hi") if is_main else pool.submit(bad.chat_prompt, "Hi").result()


def test_a_template_within_the_limits_is_rendered() -> None:
    assert text("<u>{{ messages[0].content }}<m>").chat_prompt("a" * 10**6) == f"<u>{'a' * 10**6}<m>"
    with pytest.raises(NoTemplateError):
        text(None).chat_prompt("Hi")


def test_a_template_with_a_date_gives_the_same_prompt_every_day() -> None:
    assert text("{{ strftime_now('%d %b %Y %H:%M:%S') }}").chat_prompt("hello") == "26 Jul 2024 00:00:00"

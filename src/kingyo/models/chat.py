"""Render chat templates, which are code of the checkpoint, within limits of time, memory and length."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Protocol

from kingyo.errors import KingyoError
from kingyo.user_code.timeout import TooSlowError, within

SECONDS = 10.0
"""Time limit per prompt, in seconds."""
MAX_CHARACTERS = 10_000_000
"""Length limit of a rendered prompt; longer than any context."""
MAX_BYTES = 2**30
"""Limit of the memory that rendering may allocate, in bytes."""


_TODAY = {"d": "26", "m": "07", "b": "Jul", "B": "July", "Y": "2024", "y": "24", "A": "Friday", "a": "Fri"}
_MACRO = "".join(
    (
        "{%- macro strftime_now(format) -%}{{ format",
        *(f" | replace('%{code}', '{text}')" for code, text in _TODAY.items()),
        *(f" | replace('%{code}', '00')" for code in "HIMS"),
        " }}{%- endmacro -%}",
    )
)
"""Replaces ``strftime_now`` with a fixed date, so that a prompt does not depend on the day."""


class Templated(Protocol):
    """The part of a tokenizer that rendering a chat template needs."""

    chat_template: object

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        chat_template: str | None,
    ) -> str:
        """Render a conversation."""
        ...


class NoTemplateError(KingyoError):
    """The tokenizer has no chat template."""


def render_chat(tokenizer: Templated, message: str) -> str:
    """Apply the chat template to a user message, up to the start of the answer.

    Raises:
        NoTemplateError: the tokenizer has no chat template.
        KingyoError: the template fails, or exceeds the limit of time, memory or length.
    """
    if not tokenizer.chat_template:
        raise NoTemplateError(
            "chat",
            expected="a tokenizer with a chat template",
            received="a tokenizer without one",
            remedy="Add a `prompt:` template to the task and remove `chat: true`.",
        )
    turns = [{"role": "user", "content": message}]
    render = partial(
        tokenizer.apply_chat_template,
        turns,
        tokenize=False,
        add_generation_prompt=True,
        chat_template=_dated(tokenizer.chat_template),
    )
    try:
        with _bounded_memory():
            prompt = within(SECONDS, render)
    except TooSlowError as error:
        raise _unusable(tokenizer, f"no prompt within {SECONDS:g} s") from error
    except MemoryError as error:
        raise _unusable(
            tokenizer, f"a template that takes more than {MAX_BYTES / 2**30:g} GiB of memory"
        ) from error
    except Exception as error:
        raise _unusable(tokenizer, f"{type(error).__name__}: {str(error)[:300]}") from error
    if len(prompt) > MAX_CHARACTERS:
        raise _unusable(tokenizer, f"a prompt of {len(prompt):,} characters")
    return prompt


def _dated(template: object) -> str | None:
    """Return a template that uses the date with the fixed date, or None to use the tokenizer's own."""
    return _MACRO + template if isinstance(template, str) and "strftime_now" in template else None


def _unusable(tokenizer: Templated, received: str) -> KingyoError:
    name = getattr(tokenizer, "name_or_path", "")
    return KingyoError(
        f"chat template of {name}" if name else "chat template",
        expected=f"a prompt of at most {MAX_CHARACTERS:,} characters",
        received=received,
        remedy="Fix the template (chat_template.jinja, or in tokenizer_config.json), or use a `prompt:` "
        "template without `chat: true`.",
    )


_LOCK = Lock()


@contextmanager
def _bounded_memory() -> Generator[None]:
    """Limit how much more memory the process may allocate: one template operation can request any amount.

    Only Linux supports it; other systems have only the time limit.
    """
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    import resource

    with _LOCK:
        data = int(status.read_text().split()[5]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        bounds = [each for each in (soft, hard, data + MAX_BYTES) if each != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

"""A chat template is code of the checkpoint: it is rendered within bounds of time, memory and length."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Protocol

from kingyo.errors import KingyoError
from kingyo.timeout import TooSlowError, within

SECONDS = 10.0
"""That a template may take for a prompt."""
MOST_CHARACTERS = 10_000_000
"""Of a prompt: more than any context holds."""
MOST_BYTES = 2**30
"""Of memory that a template may take on its way."""


_TODAY = {"d": "26", "m": "07", "b": "Jul", "B": "July", "Y": "2024", "y": "24", "A": "Friday", "a": "Fri"}
_MACRO = "".join(
    (
        "{%- macro strftime_now(format) -%}{{ format",
        *(f" | replace('%{code}', '{text}')" for code, text in _TODAY.items()),
        *(f" | replace('%{code}', '00')" for code in "HIMS"),
        " }}{%- endmacro -%}",
    )
)
"""What a template that asks for the date is told, so that an item has the same prompt on every day."""


class Templated(Protocol):
    """What is used of a tokenizer with a chat template."""

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
    """Wrap a user's message in the chat template, up to where the answer begins.

    Raises:
        NoTemplateError: the tokenizer has none.
        KingyoError: the template fails, or takes too much time, memory or room.
    """
    if not tokenizer.chat_template:
        raise NoTemplateError(
            "chat",
            expected="a tokenizer with a chat template",
            received="one without",
            remedy="Give the task a `prompt:` template and drop `chat: true`.",
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
        raise _unusable(tokenizer, f"none within {SECONDS:g} s") from error
    except MemoryError as error:
        raise _unusable(
            tokenizer, f"one that takes more than {MOST_BYTES / 2**30:g} GiB of memory"
        ) from error
    except Exception as error:
        raise _unusable(tokenizer, f"{type(error).__name__}: {str(error)[:300]}") from error
    if len(prompt) > MOST_CHARACTERS:
        raise _unusable(tokenizer, f"one of {len(prompt):,} characters")
    return prompt


def _dated(template: object) -> str | None:
    """A template that asks for the date, with its answer; None: as the tokenizer has it."""
    return _MACRO + template if isinstance(template, str) and "strftime_now" in template else None


def _unusable(tokenizer: Templated, received: str) -> KingyoError:
    name = getattr(tokenizer, "name_or_path", "")
    return KingyoError(
        f"chat template of {name}" if name else "chat template",
        expected=f"a prompt of at most {MOST_CHARACTERS:,} characters",
        received=received,
        remedy="Fix the template (chat_template.jinja, or in tokenizer_config.json), or ask without it: with "
        "a `prompt:` template and no `chat: true`.",
    )


_LOCK = Lock()


@contextmanager
def _bounded_memory() -> Generator[None]:
    """Let the process have no more than some memory beyond what it has: one operation can ask for any amount.

    Linux alone does it; elsewhere only time is bounded.
    """
    status = Path("/proc/self/statm")
    if not status.exists():
        yield
        return
    import resource

    with _LOCK:
        data = int(status.read_text().split()[5]) * resource.getpagesize()
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        bounds = [each for each in (soft, hard, data + MOST_BYTES) if each != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

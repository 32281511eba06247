"""Chat templates: the one that a folder has, those known by name, and the one that most models share.

The texts are written from what the models' makers publish about their formats. It knows no vocabulary.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from kingyo.errors import KingyoError, suggest

AUTO: Final = "auto"
TEMPLATE_FILE: Final = "chat_template.jinja"

_CHATML = """\
{%- for turn in messages -%}
{{ '<|im_start|>' + turn['role'] + '\\n' + turn['content'] + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""

_LLAMA3 = """\
{{- bos_token -}}
{%- for turn in messages -%}
{{ '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' + turn['content'] | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}
"""

_MISTRAL = """\
{{- bos_token -}}
{%- set kept = namespace(system='') -%}
{%- for turn in messages -%}
{%- if turn['role'] == 'system' -%}
{%- set kept.system = turn['content'] + '\\n\\n' -%}
{%- elif turn['role'] == 'user' -%}
{{ '[INST] ' + kept.system + turn['content'] + ' [/INST]' }}
{%- set kept.system = '' -%}
{%- else -%}
{{ ' ' + turn['content'] | trim + eos_token }}
{%- endif -%}
{%- endfor -%}
"""

_ALPACA = """\
{%- for turn in messages -%}
{%- if turn['role'] == 'system' -%}
{{ turn['content'] + '\\n\\n' }}
{%- elif turn['role'] == 'user' -%}
{{ '### Instruction:\\n' + turn['content'] | trim + '\\n\\n### Response:\\n' }}
{%- else -%}
{{ turn['content'] | trim + eos_token + '\\n\\n' }}
{%- endif -%}
{%- endfor -%}
"""

_EXAONE = """\
{%- if messages and messages[0]['role'] != 'system' -%}{{ '[|system|][|endofturn|]\\n' }}{%- endif -%}
{%- for turn in messages -%}
{{ '[|' + turn['role'] + '|]' + turn['content'] }}
{{- '\\n' if turn['role'] == 'user' else '[|endofturn|]\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '[|assistant|]' }}{%- endif -%}
"""

KNOWN: Mapping[str, str] = {
    "alpaca": _ALPACA,
    "chatml": _CHATML,
    "exaone": _EXAONE,
    "llama3": _LLAMA3,
    "mistral": _MISTRAL,
}
"""The templates that a recipe can name."""

_MARKER = re.compile(r"<\|[^|<>]+\|>|\[\|[^|\[\]]+\|\]|<(?:start|end)_of_turn>|\[/?INST\]")


def read_template(folder: Path) -> str | None:
    """The chat template of a folder: a file of its own, else in tokenizer_config.json; None without one."""
    file = folder / TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        held = _chat_template(folder / name)
        if held is not None:
            return held
    return None


def resolve_template(chosen: str, templates: Sequence[str | None]) -> str | None:
    """The template that a recipe's ``chat_template`` means.

    Args:
        chosen: ``auto``, a known name, or a Jinja template.
        templates: those of the models, in order, for ``auto``: the most common one, of equals the first.

    Returns:
        The template; None when ``auto`` finds none.

    Raises:
        KingyoError: neither a name nor a template.
    """
    if chosen == AUTO:
        found = Counter(each.strip() for each in templates if each and each.strip())
        return found.most_common(1)[0][0] if found else None
    if chosen in KNOWN:
        return KNOWN[chosen]
    if "{{" in chosen or "{%" in chosen:
        return chosen
    raise KingyoError(
        "chat_template",
        expected="auto, a known name, or a Jinja template",
        received=f"'{chosen}'",
        remedy=suggest(chosen, (AUTO, *KNOWN)),
    )


def find_markers(template: str) -> tuple[str, ...]:
    """The control tokens that a template writes, such as ``<|im_start|>``: a vocabulary should have them."""
    return tuple(dict.fromkeys(_MARKER.findall(template)))


def _chat_template(file: Path) -> str | None:
    try:
        parsed: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    held = cast("dict[str, object]", parsed).get("chat_template") if isinstance(parsed, dict) else None
    if isinstance(held, list):  # several, by name
        named = [cast("dict[str, object]", e) for e in cast("list[object]", held) if isinstance(e, dict)]
        held = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    return held if isinstance(held, str) else None

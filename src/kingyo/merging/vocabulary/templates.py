"""Chat templates: read from a folder, known by name, or the most common one among models.

The known templates follow the formats that the authors of the models publish.
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
"""Templates that a recipe can name."""

_MARKER = re.compile(r"<\|[^|<>]+\|>|\[\|[^|\[\]]+\|\]|<(?:start|end)_of_turn>|\[/?INST\]")
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")


def read_template(folder: Path) -> str | None:
    """Return the chat template of a folder: its own file, else in tokenizer_config.json; None without one."""
    file = folder / TEMPLATE_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        template = _chat_template(folder / name)
        if template is not None:
            return template
    return None


def resolve_template(chosen: str, templates: Sequence[str | None]) -> str | None:
    """Return the template for a recipe's ``chat_template``: ``auto``, a known name, or a Jinja template.

    ``auto`` is the most common of the models' templates; ties go to the first. It is None if they have none.
    """
    if chosen == AUTO:
        counts = Counter(each.strip() for each in templates if each and each.strip())
        return counts.most_common(1)[0][0] if counts else None
    if chosen in KNOWN:
        return KNOWN[chosen]
    if "{{" in chosen or "{%" in chosen:
        return chosen
    remedy = suggest(chosen, (AUTO, *KNOWN))
    raise KingyoError("chat_template", "auto, a known name, or a Jinja template", f"'{chosen}'", remedy)


def syntax_fault(template: str) -> str | None:
    """Return why a template cannot be parsed, with the line; None if it can. Rendering may still fail."""
    from jinja2 import Environment, TemplateSyntaxError

    known = _GENERATION.sub("", template)  # a tag that transformers adds to Jinja
    try:
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(known)
    except TemplateSyntaxError as error:
        return f"{error.message} (line {error.lineno})"
    return None


def find_markers(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_MARKER.findall(template)))


def _chat_template(file: Path) -> str | None:
    try:
        parsed: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    template = cast("dict[str, object]", parsed).get("chat_template") if isinstance(parsed, dict) else None
    if isinstance(template, list):  # several named templates
        named = [cast("dict[str, object]", e) for e in cast("list[object]", template) if isinstance(e, dict)]
        template = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    return template if isinstance(template, str) else None

"""Write the page of methods, and the lists of keys in these pages from the classes of settings.

    python docs/tables.py

A page marks a list with ``<!-- keys: MODULE:CLASS -->``. Words after the class select some of its keys.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from kingyo.merging.methods.catalogue import page
from kingyo.search.strategies.presets import PRESETS

DOCS = Path(__file__).parent
TABLE = re.compile(r"(<!-- keys: (\S+?):(\w+)((?: \w+)*) -->\n\n)(?:- .*\n)*\n?")
PRESET_TABLE = re.compile(r"(<!-- presets -->\n\n)(?:\|.*\n)*\n?")
ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
DEFAULT = re.compile(r" ?Default: (.+)\.$")


def with_tables(text: str) -> str:
    """Return a page whose tables say what the classes say."""
    titles = re.findall(r"^#+ (\S+)$", text, re.MULTILINE)

    def table(match: re.Match[str]) -> str:
        settings = getattr(importlib.import_module(match[2]), match[3])
        (section,) = {text[: match.start()].rpartition("\n#")[2].partition("\n")[0].strip("# ")}
        rows: list[str] = []
        for name, meaning, default in keys(settings):
            title = next((each for each in titles if each in (name, f"{section}.{name}")), None)
            shown = f"[`{name}`](#{title.replace('.', '')})" if title not in (None, section) else f"`{name}`"
            if not match[4] or name in match[4].split():
                rows.append(f"- {shown} ({default}): {meaning}")
        return match[1] + "\n".join([*rows, "", ""])

    return PRESET_TABLE.sub(lambda match: match[1] + "\n".join([*presets(), "", ""]), TABLE.sub(table, text))


def presets() -> Iterator[str]:
    """Yield the lines of the table of presets."""
    yield from ("| preset | strategy | items | method, groups |", "|---|---|---|---|")
    for name, preset in PRESETS.items():
        most = str(preset.screen.get("items", "all"))
        items = f"{preset.fewest_items} to {most}" if preset.fewest_items else most
        searched = "paths" if preset.space == "dataflow" else "any"
        if preset.merge is not None:
            searched = f"`{preset.merge.method}`, `{preset.merge.groups}`"
        searched += f"; then paths by `{preset.path_preset}`" if preset.path_preset else ""
        yield f"| `{name}` | `{preset.strategy}` | {items} | {searched} |"


def keys(settings: type[object]) -> Iterator[tuple[str, str, str]]:
    """Yield name, meaning and default of each key of a pydantic model or a dataclass."""
    documented = [inspect.cleandoc(each.__doc__ or "") for each in reversed(settings.__mro__)]
    docs = dict(ATTRIBUTE.findall("\n".join(documented)))
    if issubclass(settings, BaseModel):
        fields = {name: (each.alias or name, each.default) for name, each in settings.model_fields.items()}
    else:
        fields = {each.name: (each.name, each.default) for each in dataclasses.fields(settings)}
    for name, (key, default) in fields.items():
        meaning = " ".join(docs[name].split()).replace("``", "`").replace("|", "\\|")
        stated = DEFAULT.search(meaning)
        meaning = DEFAULT.sub("", meaning)
        yield key, meaning[0].upper() + meaning[1:], stated[1] if stated else _text(default)


def _text(default: object) -> str:
    if default is None or default == ():
        return "none" if default is None else "`[]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f'`"{default}"`' if "{" in default else f"`{default}`"
    return f"`{default:g}`" if isinstance(default, int | float) else "**required**"


if __name__ == "__main__":
    (DOCS / "methods.md").write_text(page(), encoding="utf-8")
    for path in DOCS.glob("*.md"):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")

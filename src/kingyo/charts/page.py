"""Pages that hold charts: one HTML file that needs no network, and may not use any.

Templates escape whatever they are given. The content policy allows only the scripts that the page was written
with, and Vega evaluates its expressions without ``eval``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from kingyo.charts.colours import DARK, LIGHT, variables
from kingyo.charts.draw import full_spec, javascript

if TYPE_CHECKING:
    from jinja2 import Environment

BEGINS = b"<!doctype html>"


def render(room: str, template: str, context: Mapping[str, object]) -> bytes:
    """Fill in a template that extends ``charts/base.html.jinja``.

    Args:
        room: the package with the template, such as ``report``.
        template: its name below ``templates``, without ``.html.jinja``.
        context: what it shows. The macro ``chart`` draws charts; ``datasets`` are the rows that they share.
    """
    scripts = (javascript(), _shipped("page.js"))
    page = _environment(room).get_template(f"{room}/{template}.html.jinja")
    content = page.render(
        **context,
        scripts=scripts,
        policy=_policy(scripts),
        style=_shipped("page.css"),
        light=variables(LIGHT),
        dark=variables(DARK),
        fish=_shipped("fish.svg"),
    )
    return content.encode(errors="backslashreplace")  # a path may be no UTF-8


@cache
def _environment(room: str) -> Environment:
    from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined

    rooms = {name: PackageLoader(f"kingyo.{name}") for name in {"charts", room}}
    made = Environment(
        loader=PrefixLoader(rooms),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["full_spec"] = full_spec  # pyright: ignore[reportUnknownMemberType]
    return made


def _policy(scripts: Iterable[str]) -> str:
    """Allow no network, and no script but these: one in a model's answer stays text."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _shipped(name: str) -> str:
    return resources.files("kingyo.charts").joinpath(name).read_text(encoding="utf-8")

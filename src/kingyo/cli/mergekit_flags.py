"""The flags of mergekit-yaml and mergekit-multi, so that scripts for mergekit also work with kingyo.

A flag with the same meaning is translated. A flag without effect here is accepted with a warning.
"""

import re
from collections.abc import Sequence

import typer
from typer.core import TyperCommand

from kingyo.cli.output import echo

SAME = {
    "--random-seed": "--seed",
    "--num-threads": "--threads",
    "-j": "--threads",
    "--out-shard-size": "--max-shard-size",
    "--out-path": "",
}
"""Flag -> kingyo's flag with the same meaning, or "" for the last argument of the command."""
SWITCHES = (
    *("--allow-crimes", "--async-write", "--clone-tensors", "--copy-tokenizer", "--cuda", "--gpu-rich"),
    *("--lazy", "--lazy-unpickle", "--low-cpu-memory", "--multi-gpu", "--quiet", "--read-to-gpu"),
    *("--safe-serialization", "--trust-remote-code", "--unsafe-truncate-embeddings"),
    *("--write-model-card", "-v"),
)
"""Flags without a value and without effect; each also has a ``--no-`` form."""
VALUED = (
    *("--device", "--intermediate-dir", "-I", "--lora-merge-cache", "--lora-merge-dtype"),
    *("--transformers-cache", "--write-threads"),
)
"""Flags with a value and without effect."""


class Merge(TyperCommand):
    """``kingyo merge``, which also accepts the flags of mergekit-yaml and mergekit-multi."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Translate mergekit's flags, parse the others, and warn about flags without effect."""
        ours, ignored = translated(args)
        rest = super().parse_args(ctx, ours)
        if ignored:
            names = ", ".join(dict.fromkeys(ignored))
            echo(f"Warning: without effect in kingyo: {names}; see docs/merge.md.", err=True)
        return rest


def translated(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments with kingyo's flags, and the flags without effect."""
    ours, last, ignored = list[str](), list[str](), list[str]()
    rest = list(args)
    while rest and rest[0] != "--":
        arg = rest.pop(0)
        name, has_value, value = arg.partition("=")
        same = SAME.get(name)
        if name.replace("--no-", "--", 1) in SWITCHES:
            ignored.append(name)
        elif (same is None and name not in VALUED) or not (has_value or rest):
            ours.append(arg)
        else:
            value = value if has_value else rest.pop(0)
            if same is None:
                ignored.append(name)
            elif same:
                ours += [same, _size(value) if same == "--max-shard-size" else value]
            else:
                last = [value]
    end = rest or (["--"] if last else [])  # so that a value with a leading dash is not read as a flag
    return [*ours, *end, *last], ignored


def _size(text: str) -> str:
    """Translate a size of mergekit, where B means billions."""
    return re.sub(r"(?i)^\s*([\d.]+)\s*b\s*$", r"\1GB", text)

"""The flags of mergekit's commands, so that scripts for mergekit also work with kingyo.

A flag with the same meaning is translated. A flag without effect here is accepted with a warning.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import typer
from typer.core import TyperCommand

from kingyo.cli.terminal import echo

_ALWAYS = "kingyo always does this"
_NO_NEED = "kingyo does not need it"
_ON_CPU = "merges run on the CPU, and the disk is the bottleneck"
_MAPPED = "tensors are memory-mapped; --allow-pickle reads pickles"
_SAFETENSORS = "kingyo writes only safetensors"
_CODE = "kingyo never runs code of a model; --copy-code copies it"
_WRITING = "the compute threads also write"
_CRIMES = "incompatible models are an error; for sizes that differ, use resize: in the recipe"
_LOGS = "the run folder has all results; see kingyo show and kingyo report"
_RUN_YAML = "set it in a run.yaml, which kingyo evolve reads instead of a genome file"
_RUNNER = "set runner: and workers: in a run.yaml"


@dataclass(frozen=True, kw_only=True)
class MergekitFlags:
    """The flags of one of mergekit's commands.

    Attributes:
        program: name of the command.
        same: flag -> kingyo's flag with the same meaning, or "" for the last argument of the command.
        switches: flag without a value -> why it has no effect; each also has a ``--no-`` form.
        valued: flag with a value -> why it has no effect.
        names: all flags.
    """

    program: str
    same: Mapping[str, str]
    switches: Mapping[str, str]
    valued: Mapping[str, str]
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset({*self.same, *self.switches, *self.valued}))


MERGE = MergekitFlags(
    program="mergekit",
    same={
        "--random-seed": "--seed",
        "--num-threads": "--threads",
        "-j": "--threads",
        "--out-shard-size": "--max-shard-size",
        "-v": "--verbose",
        "--out-path": "",
    },
    switches={
        "--allow-crimes": _CRIMES,
        "--async-write": _WRITING,
        "--clone-tensors": _NO_NEED,
        "--copy-tokenizer": _ALWAYS,
        "--no-copy-tokenizer": "kingyo always writes the tokenizer; delete its files if you do not need them",
        "--cuda": _ON_CPU,
        "--gpu-rich": _ON_CPU,
        "--multi-gpu": _ON_CPU,
        "--read-to-gpu": _ON_CPU,
        "--lazy": "rerun the command to resume after an interruption",
        "--lazy-unpickle": _MAPPED,
        "--low-cpu-memory": "kingyo holds only a few tensors in memory at a time",
        "--quiet": "progress is only shown on terminals",
        "--safe-serialization": _SAFETENSORS,
        "--no-safe-serialization": _SAFETENSORS,
        "--trust-remote-code": _CODE,
        "--unsafe-truncate-embeddings": "use resize: truncate in the recipe",
        "--write-model-card": _ALWAYS,
        "--no-write-model-card": "kingyo always writes a model card; delete README.md if you do not need it",
    },
    valued={
        "--device": _ON_CPU,
        "--intermediate-dir": "kingyo writes no intermediate weights",
        "-I": "kingyo writes no intermediate weights",
        "--lora-merge-cache": "kingyo merges a LoRA while reading it",
        "--lora-merge-dtype": "kingyo merges a LoRA in float32",
        "--transformers-cache": "the environment variable HF_HOME sets the cache of the Hub",
        "--write-threads": _WRITING,
    },
)
"""Flags of mergekit-yaml and mergekit-multi."""

EVOLVE = MergekitFlags(
    program="mergekit-evolve",
    same={"--random-seed": "--seed", "--storage-path": "--run"},
    switches={
        "--allow-crimes": "incompatible models are an error",
        "--i-understand-the-depths-of-the-evils-i-am-unleashing": "kingyo has its own tasks",
        "--in-memory": _ALWAYS,
        "--load-in-4bit": _NO_NEED,
        "--load-in-8bit": _NO_NEED,
        "--merge-cuda": _ON_CPU,
        "--reshard": _NO_NEED,
        "--save-final-model": "use kingyo export to write the model",
        "--trust-remote-code": "kingyo never runs code of a model",
        "--vllm": _NO_NEED,
        "--wandb": _LOGS,
    },
    valued={
        "--batch-size": _NO_NEED,
        "--force-population-size": _RUN_YAML,
        "--num-gpus": _RUNNER,
        "--sigma0": _RUN_YAML,
        "--strategy": _RUNNER,
        "-s": _RUNNER,
        "--timeout": _RUN_YAML,
        "--wandb-entity": _LOGS,
        "--wandb-project": _LOGS,
    },
)


class _Command(TyperCommand):
    """A command that also accepts the flags of a command of mergekit."""

    flags: ClassVar[MergekitFlags]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Translate mergekit's flags, parse the others, and warn about flags without effect."""
        ours, without_effect = translated(args, self.flags)
        self._refuse_misspelt(ctx, ours)
        rest = super().parse_args(ctx, ours)
        for line in _warnings(without_effect, self.flags.program):
            echo(f"Warning: {line}", err=True)
        return rest

    def _refuse_misspelt(self, ctx: typer.Context, args: Sequence[str]) -> None:
        """Refuse misspelt flags of mergekit, and flags without their value, which typer does not know."""
        known = {name for each in self.get_params(ctx) for name in (*each.opts, *each.secondary_opts)}
        for arg in args[: args.index("--")] if "--" in args else args:
            name = arg.split("=")[0]
            if name in self.flags.valued or self.flags.same.get(name) == "":
                ctx.fail(f"Option '{name}' requires an argument.")
            if name.startswith("--") and name not in known:
                near = difflib.get_close_matches(name, [*known, *sorted(self.flags.names)], n=1)
                if near and near[0] == name:
                    ctx.fail(f"Option '{name}' does not take a value.")
                if near and near[0] not in known:
                    ctx.fail(f"No such option: {name} (Possible options: {near[0]})")


class Merge(_Command):
    """``kingyo merge``."""

    flags = MERGE


class Evolve(_Command):
    """``kingyo evolve``."""

    flags = EVOLVE


def translated(args: Sequence[str], flags: MergekitFlags) -> tuple[list[str], dict[str, str]]:
    """Return the arguments with kingyo's flags, and flags without effect -> the reason."""
    ours, last, without_effect = list[str](), list[str](), dict[str, str]()
    rest = list(args)
    while rest and rest[0] != "--":
        arg = rest.pop(0)
        name, has_value, value = _parts(arg, flags)
        switch = name if name in flags.switches else name.replace("--no-", "--", 1)
        if flags.same.get(name) == "" and (has_value or rest):
            last = [value if has_value else rest.pop(0)]
        elif flags.same.get(name):
            ours += [flags.same[name]]
            ours += [value] if has_value else []
            if flags.same[name] == "--max-shard-size" and (has_value or rest):
                ours.append(_size(ours.pop() if has_value else rest.pop(0)))
        elif name in flags.valued and (has_value or rest):
            without_effect[name] = flags.valued[name]
            rest = rest if has_value else rest[1:]
        elif switch in flags.switches and not has_value:
            without_effect[name] = flags.switches[switch]
        else:
            ours.append(arg)
    end = rest or (["--"] if last else [])  # so that a value with a leading dash is not read as a flag
    return [*ours, *end, *last], without_effect


def _parts(arg: str, flags: MergekitFlags) -> tuple[str, bool, str]:
    """Split an argument such as ``--a=1`` or ``-j4``: the flag, whether it has a value, and the value."""
    if re.fullmatch(r"-v+", arg):
        return "-v", False, ""
    if re.match(r"-[A-Za-z].", arg) and arg[:2] in {*flags.same, *flags.valued}:
        return arg[:2], True, arg[2:]
    name, sign, value = arg.partition("=")
    return name, bool(sign), value


def _size(text: str) -> str:
    """Translate a size of mergekit, where B means billions."""
    return re.sub(r"(?i)^\s*([\d.]+)\s*b\s*$", r"\1GB", text)


def _warnings(without_effect: Mapping[str, str], program: str) -> list[str]:
    """Return one line for all flags that have no effect for the same reason."""
    reasons = dict.fromkeys(without_effect.values())
    by_reason = {why: [name for name in without_effect if without_effect[name] == why] for why in reasons}
    return [
        f"{program}'s {', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {why}."
        for why, names in by_reason.items()
    ]

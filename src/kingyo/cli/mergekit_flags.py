"""The flags of mergekit's commands, so that a script of theirs runs with ours; the rest is typer's.

A flag that means the same becomes ours; one that changes nothing here is taken with a warning that says why.
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

_ALWAYS = "kingyo does so always"
_NO_NEED = "kingyo has no need of it"
_ON_CPU = "the processor merges as fast as a disk writes"
_MAPPED = "tensors are mapped as they are needed; --allow-pickle reads pickles"
_SAFETENSORS = "safetensors are all that is written"
_CODE = "no code of a model is run; --copy-code copies it"
_WRITING = "the threads that compute write too"
_CRIMES = "models that do not fit are refused; resize: in the recipe is for sizes that differ"
_LOGS = "the run folder keeps all of it; kingyo show and kingyo report read it"
_RUN_YAML = "a run.yaml says it; kingyo evolve reads one in place of the genome file"
_RUNNER = "runner: and workers: in a run.yaml say how candidates are evaluated"


@dataclass(frozen=True, kw_only=True)
class MergekitFlags:
    """The flags of one of mergekit's commands.

    Attributes:
        program: its name.
        same: flag -> ours, which means the same; "" for the command's last argument.
        switches: flag without a value -> why it changes nothing; each has a ``--no-`` form too.
        valued: flag with a value -> why it changes nothing.
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
        "--no-copy-tokenizer": "the tokenizer is always written; delete its files if you do not want them",
        "--cuda": _ON_CPU,
        "--gpu-rich": _ON_CPU,
        "--multi-gpu": _ON_CPU,
        "--read-to-gpu": _ON_CPU,
        "--lazy": "a rerun goes on with the first file that is not complete",
        "--lazy-unpickle": _MAPPED,
        "--low-cpu-memory": "memory holds one tensor of each model at a time",
        "--quiet": "progress is shown on terminals alone",
        "--safe-serialization": _SAFETENSORS,
        "--no-safe-serialization": _SAFETENSORS,
        "--trust-remote-code": _CODE,
        "--unsafe-truncate-embeddings": "resize: truncate in the recipe does so",
        "--write-model-card": _ALWAYS,
        "--no-write-model-card": "the model card is always written; delete README.md if you do not want it",
    },
    valued={
        "--device": _ON_CPU,
        "--intermediate-dir": "no weight is written between the recipes of a file",
        "-I": "no weight is written between the recipes of a file",
        "--lora-merge-cache": "a LoRA is merged in as it is read",
        "--lora-merge-dtype": "a LoRA is merged in float32",
        "--transformers-cache": "models of the Hub lie where the variable HF_HOME of the environment says",
        "--write-threads": _WRITING,
    },
)
"""Those of mergekit-yaml and mergekit-multi."""

EVOLVE = MergekitFlags(
    program="mergekit-evolve",
    same={"--random-seed": "--seed", "--storage-path": "--run"},
    switches={
        "--allow-crimes": "models that do not fit are refused",
        "--i-understand-the-depths-of-the-evils-i-am-unleashing": "tasks are kingyo's own",
        "--in-memory": _ALWAYS,
        "--load-in-4bit": _NO_NEED,
        "--load-in-8bit": _NO_NEED,
        "--merge-cuda": _ON_CPU,
        "--reshard": _NO_NEED,
        "--save-final-model": "kingyo export writes the model",
        "--trust-remote-code": "no code of a model is run",
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
    """A command that takes the flags of one of mergekit's too."""

    flags: ClassVar[MergekitFlags]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Translate them, let typer parse what is left, then warn of those without effect."""
        ours, without_effect = translated(args, self.flags)
        self._refuse_misspelt(ctx, ours)
        rest = super().parse_args(ctx, ours)
        for line in _warnings(without_effect, self.flags.program):
            echo(f"Warning: {line}", err=True)
        return rest

    def _refuse_misspelt(self, ctx: typer.Context, args: Sequence[str]) -> None:
        """Refuse what is nearly a flag of theirs, or lacks its value; typer knows of ours alone."""
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
    """Return the arguments with flags of ours alone, and those without effect with why."""
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
    end = rest or (["--"] if last else [])  # a value that begins with a dash is no flag
    return [*ours, *end, *last], without_effect


def _parts(arg: str, flags: MergekitFlags) -> tuple[str, bool, str]:
    """Name, whether a value follows in the same word, and the value: ``--a=1``, ``-j4``, ``-vv``."""
    if re.fullmatch(r"-v+", arg):
        return "-v", False, ""
    if re.match(r"-[A-Za-z].", arg) and arg[:2] in {*flags.same, *flags.valued}:
        return arg[:2], True, arg[2:]
    name, sign, value = arg.partition("=")
    return name, bool(sign), value


def _size(text: str) -> str:
    """A size as mergekit writes it: its K, M and B are thousands, millions and billions."""
    return re.sub(r"(?i)^\s*([\d.]+)\s*b\s*$", r"\1GB", text)


def _warnings(without_effect: Mapping[str, str], program: str) -> list[str]:
    """One line for all flags that change nothing for the same reason."""
    reasons = dict.fromkeys(without_effect.values())
    by_reason = {why: [name for name in without_effect if without_effect[name] == why] for why in reasons}
    return [
        f"{program}'s {', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {why}."
        for why, names in by_reason.items()
    ]

"""The flags of mergekit-yaml: what takes their place, for hands that are used to them."""

from __future__ import annotations

import typer
from typer.core import TyperCommand

from kingyo.errors import KingyoError

_ALWAYS = "Leave it out: kingyo does so always."
_NEVER = "Leave it out: kingyo has no need of it."
_ON_CPU = "Leave it out: the processor merges as fast as a disk writes."
FLAGS = {
    "--allow-crimes": "Leave it out; resize: in the recipe is for sizes that differ.",
    "--async-write": _ALWAYS,
    "--clone-tensors": _NEVER,
    "--copy-tokenizer": _ALWAYS,
    "--no-copy-tokenizer": "Leave it out, and delete the tokenizer's files from the result.",
    "--cuda": _ON_CPU,
    "--device": _ON_CPU,
    "--gpu-rich": _ON_CPU,
    "--multi-gpu": _ON_CPU,
    "--read-to-gpu": _ON_CPU,
    "--lazy-unpickle": "Leave it out: weights are mapped from safetensors, and pickles are not read.",
    "--lora-merge-cache": "Leave it out: a LoRA is merged in as it is read.",
    "--lora-merge-dtype": "Leave it out: a LoRA is merged in float32.",
    "--low-cpu-memory": _ALWAYS,
    "--num-threads": "Say --threads.",
    "-j": "Say --threads.",
    "-v": "Leave it out: what is wrong is told always.",
    "-vv": "Leave it out: what is wrong is told always.",
    "--no-cuda": _ON_CPU,
    "--write-threads": "Leave it out: the threads that compute write too.",
    "--out-shard-size": "Say --max-shard-size; what is 5B there is 5GB here.",
    "--quiet": "Leave it out: progress is shown on terminals alone.",
    "--random-seed": "Say --seed.",
    "--safe-serialization": "Leave it out: safetensors are all that is written.",
    "--no-safe-serialization": "Leave it out: safetensors are all that is written.",
    "--transformers-cache": "Set the variable HF_HOME of the environment.",
    "--trust-remote-code": "Leave it out: no code of a model is run; --copy-code copies it.",
    "--unsafe-truncate-embeddings": "Say resize: truncate in the recipe.",
    "--write-model-card": _ALWAYS,
    "--no-write-model-card": "Leave it out, and delete README.md from the result.",
}
"""Each, and what to do about it."""


class _ForeignFlagError(KingyoError):
    """Flags of mergekit-yaml."""

    exit_code = 2


class Merge(TyperCommand):
    """A command that knows them, and refuses all at once, as it refuses other flags that it has not."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Refuse flags that are mergekit's; the exit code is that of a misspelt command."""
        found = list(dict.fromkeys(name for each in args if (name := each.split("=")[0]) in FLAGS))
        if found:
            remedies = [f"{flag}: {FLAGS[flag]}" for flag in found] if len(found) > 1 else [FLAGS[found[0]]]
            raise _ForeignFlagError(
                ", ".join(found),
                expected="flags of kingyo merge",
                received="some of mergekit-yaml" if len(found) > 1 else "one of mergekit-yaml",
                remedy=" ".join(remedies),
            )
        return super().parse_args(ctx, args)

"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TRIALS = "12, random:12, parameters:12 (weight search of a hybrid run), or a baseline such as uniform"

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder or a Hub name; model+lora adds a LoRA.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle", help="Read weights that exist only as pickles. Code in a pickle is never run."
    ),
]
SingleFile = Annotated[
    bool,
    typer.Option(
        "--single-file",
        help="Also write a diffusion model as one .safetensors in the layout of its original code.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="Device of the model, such as cpu or cuda.")]
Kind = Annotated[
    str | None,
    typer.Option("--kind", help="Kind of model, if config.json does not show it; see `kingyo list kinds`."),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Let transformers run Python files from the model's folder."),
]

"""The base of the LoRAs that ``kingyo init`` gets as sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError


def with_bases(base: str | None, sources: Mapping[str, str]) -> tuple[str | None, Mapping[str, str]]:
    """Return the base, and the sources with each LoRA written after its model.

    The model is the given base, else the one that the config or the card of the LoRA names, as for a scout.

    Raises:
        KingyoError: a LoRA names no model, or LoRAs name different ones and there is no base.
    """
    unclear = {name: each for name, each in sources.items() if not (Path(each) / "config.json").is_file()}
    if not unclear:
        return base, sources
    from kingyo.scout.base import Names
    from kingyo.scout.places import find_places

    found = {name: find_places([each]) for name, each in unclear.items()}
    loras = {
        name: each[0]
        for name, each in found.items()
        if [p.is_adapter and p.on is None for p in each] == [True]
    }
    places = list(loras.values())
    meant = [base] * len(places) if base is not None else Names(places).all_meant(places)
    for place, model in zip(places, meant, strict=True):
        if model is None:
            raise KingyoError(
                "--base",
                expected=f"the model of the LoRA {place.name}: its config and card name none that is here",
                received="nothing",
                remedy="Add --base MODEL.",
            )
    if base is None and loras:
        base = meant[0]
        if len({*meant}) > 1:
            raise KingyoError(
                "--base",
                expected="the base of the run, since LoRAs name different ones",
                received=", ".join(f"{model} of {name}" for name, model in zip(loras, meant, strict=True)),
                remedy="Add --base MODEL for all of them, or write each as --source MODEL+LORA.",
            )
        echo(f"The base is {base}, as {' and '.join(loras)} name{'s' if len(loras) == 1 else ''} it.")
    models = zip(loras, meant, strict=True)
    return base, {**sources, **{name: f"{model}+{sources[name]}" for name, model in models}}

"""Read the index of the pipeline around a component."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kingyo.errors import KingyoError

INDEX = "model_index.json"
DENOISERS = ("unet", "transformer")
"""Components that remove noise."""


def pipeline_around(path: Path) -> Path:
    """Return the folder of the pipeline around a component.

    Raises:
        KingyoError: the component is a model on its own.
    """
    if (path.parent / INDEX).is_file():
        return path.parent
    raise KingyoError(
        str(path),
        expected=f"a component of a pipeline, with {INDEX} in the folder above",
        received="a model on its own",
        remedy="Name a whole pipeline, in a run as the base or, without a base, as the first source.",
    )


def read_index(root: Path) -> Mapping[str, Any]:
    """Return the content of a pipeline's index."""
    return json.loads((root / INDEX).read_text(encoding="utf-8"))


def components(index: Mapping[str, Any]) -> list[str]:
    """Return the names of the components in the index of a pipeline."""
    return [name for name, pair in index.items() if isinstance(pair, list) and pair[0] is not None]

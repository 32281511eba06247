"""Load a denoiser, and the pipeline of diffusers around it, from local folders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from kingyo.core.io.extras import library
from kingyo.core.io.pipeline_index import PIPELINE, component_classes
from kingyo.errors import KingyoError
from kingyo.models.kinds.kind import LoadOptions
from kingyo.models.loading import loading

_STEM = "diffusion_pytorch_model"
_VARIANT = re.compile(rf"{_STEM}\.(?!safetensors)([A-Za-z0-9_]+)[.-]")
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def pipeline_around(path: Path) -> Path:
    """Return the folder of the pipeline around a component."""
    if (path.parent / PIPELINE).is_file():
        return path.parent
    expected = f"a component of a pipeline, with {PIPELINE} in the folder above"
    remedy = "Name a complete pipeline, in a run as the base or, without a base, as the first source."
    raise KingyoError(str(path), expected, "a model on its own", remedy)


def read_index(root: Path) -> Mapping[str, Any]:
    """Return the content of a pipeline's index."""
    return json.loads((root / PIPELINE).read_text(encoding="utf-8"))


def load_denoiser(path: Path, options: LoadOptions) -> Any:
    """Load the denoiser of a pipeline, by default in the dtype of its file."""
    pipeline_around(path)
    diffusers = library(str(path), "diffusers")
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if kind is None:
        received = f"{config.get('_class_name')!r}, which diffusers {diffusers.__version__} does not have"
        remedy = "Update diffusers, or name another model."
        raise KingyoError(str(path), "a denoiser of diffusers", received, remedy)
    with loading(path, "diffusers"):
        dtype = getattr(torch, options.dtype) if options.dtype else "auto"
        model, report = kind.from_pretrained(
            path,
            dtype=_saved_dtype(path) if dtype == "auto" else dtype,
            variant=_variant(path),
            local_files_only=True,
            use_safetensors=None if options.allow_pickle else True,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            expected = "a tensor of the architecture"
            remedy = "Download or save the model again, so that its weights fit its config.json."
            raise KingyoError(f"{path}: {missing[0]}", expected, f"{len(missing)} missing", remedy)
    return model.eval()


def _variant(path: Path) -> str | None:
    names = sorted(each.name for each in path.glob(f"{_STEM}*.safetensors*"))
    found = [_VARIANT.match(name) for name in names]
    return None if not all(found) or not found or found[0] is None else found[0][1]


def _saved_dtype(path: Path) -> torch.dtype:
    from safetensors import safe_open

    for file in sorted(path.glob("*.safetensors")):
        with cast("Any", safe_open(file, framework="pt")) as opened:
            for name in sorted(opened.keys()):
                kind = opened.get_slice(name).get_dtype()
                if kind in _DTYPES:
                    return _DTYPES[kind]
    return torch.float32


def load_around(path: Path, denoiser: Any, options: LoadOptions) -> Any:
    """Load the pipeline around a loaded denoiser; optional components without a folder are left out."""
    root = path.parent
    kind, absent = pipeline_class(root), absent_components(root)
    with loading(root, "diffusers"):
        return kind.from_pretrained(
            root,
            dtype=denoiser.dtype,
            variant=_variant(path),
            local_files_only=True,
            use_safetensors=None if options.allow_pickle else True,
            **{**dict.fromkeys(absent), path.name: denoiser},
        )


def pipeline_class(root: Path) -> Any:
    """Return the class of a pipeline."""
    diffusers = library(str(root), "diffusers")
    name = str(read_index(root).get("_class_name"))
    kind = cast(object, getattr(diffusers, name, None))
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        expected = f"a pipeline of diffusers {diffusers.__version__}"
        remedy = "Update diffusers, or name another model."
        raise KingyoError(str(root / PIPELINE), expected, name[:80], remedy)
    return kind


def absent_components(root: Path) -> list[str]:
    """Return the optional components in the index of a pipeline that have no folder."""
    kind = pipeline_class(root)
    absent = [each for each in component_classes(read_index(root)) if not (root / each).is_dir()]
    for each in absent:
        if each not in kind._optional_components:
            expected = f"the component {each}, which {kind.__name__} needs"
            raise KingyoError(str(root), expected, "no such folder", "Download or save the pipeline again.")
    return absent

"""Kinds of models: how live models are loaded, what they can do, and what a run checks before it loads them.

There is one module per kind. Plug-ins use the entry point group ``kingyo.model_kinds``; a user's own kind is
an instance named as ``path/to/file.py:NAME``. Kinds import slow libraries, such as torch, in their methods.
"""

from kingyo.models.kinds.abilities import described, members, require_ability, require_needs
from kingyo.models.kinds.kind import (
    ABILITIES,
    AllRead,
    BatchMemory,
    CardPart,
    Config,
    InPipeline,
    Live,
    LoadOptions,
    ModelKind,
    Options,
    PassableModels,
    PassesLayers,
    ShowsStreams,
    Streams,
    TrainsLora,
    Workload,
)
from kingyo.models.kinds.registry import DEFAULT, MODEL_KINDS, called, distribution_of, load_live
from kingyo.models.kinds.selection import NO_PIPELINE, common_kind, kind_of, known_kind

__all__ = [
    "ABILITIES",
    "DEFAULT",
    "MODEL_KINDS",
    "NO_PIPELINE",
    "AllRead",
    "BatchMemory",
    "CardPart",
    "Config",
    "InPipeline",
    "Live",
    "LoadOptions",
    "ModelKind",
    "Options",
    "PassableModels",
    "PassesLayers",
    "ShowsStreams",
    "Streams",
    "TrainsLora",
    "Workload",
    "called",
    "common_kind",
    "described",
    "distribution_of",
    "kind_of",
    "known_kind",
    "load_live",
    "members",
    "require_ability",
    "require_needs",
]

"""A path whose layers are written once, however often it passes them: ``--share-layers``.

The folder holds every layer of the path once, a config that says in which order and with which scales they
are passed, and ``modeling_path.py``, by which transformers does so when it is told to trust it. Scales are
applied as the model runs and not folded into weights, so more architectures may have them.

It knows configs, and no tensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from kingyo.checkpoints import Checkpoint, with_layers
from kingyo.checkpoints.defaults import complete
from kingyo.engine.agreement import Agreement
from kingyo.engine.pieces import MAIN
from kingyo.engine.unrolled import SHAREABLE, check_path
from kingyo.errors import KingyoError
from kingyo.recipe import Hop, Recipe, Slice, SliceSource

OPTION = "--share-layers"
CODE_FILE = "modeling_path.py"
_FOR_PYRIGHT = re.compile(r"  # pyright: .*")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the folder of a path says, and holds beside weights and tokenizer.

    Attributes:
        n_layers: how many layers it holds.
        n_hops: how many the tokens pass.
        config: its ``config.json``.
        code: its ``modeling_path.py``.
    """

    n_layers: int
    n_hops: int
    config: Mapping[str, object]
    code: str

    def __str__(self) -> str:
        return (
            f"a path of {self.n_hops} layers, of which {self.n_layers} are written, each once: {CODE_FILE} "
            "beside them follows it, which transformers runs with trust_remote_code=True"
        )


def has_to_share(recipe: Recipe) -> bool:
    """Whether there is anything to share: a layer that is passed again, or a scale.

    Raises:
        KingyoError: it has no path.
    """
    if not recipe.path:
        remedy = "Leave it out. Slices that merge nothing are written as a path by `kingyo recipe --as path`."
        raise KingyoError(
            OPTION,
            expected="a recipe with a path, whose layers are passed several times",
            received="slices" if recipe.slices else "modules" if recipe.modules else "whole models",
            remedy=remedy if recipe.slices else "Leave it out.",
        )
    return len(_layers(recipe)) < len(recipe.path) or any(hop.scale != 1 for hop in recipe.path)


def can_share(model: Checkpoint) -> bool:
    """Whether this was tested for models of its type."""
    return model.config.get("model_type") in SHAREABLE


def once(recipe: Recipe, opened: Mapping[str, Checkpoint]) -> Recipe:
    """The weights of a path as slices: each of its layers once, in the order in which they are first passed.

    Args:
        recipe: with a path.
        opened: its models.

    Raises:
        KingyoError: see ``check_path``.
    """
    check_path(recipe, opened)
    sources = (SliceSource(model=hop.model, layers=(hop.layer, hop.layer + 1)) for hop in _layers(recipe))
    slices = tuple(Slice(sources=(source,)) for source in sources)
    return replace(recipe, path=(), slices=slices, merges={})  # which are among the opened models


def share(recipe: Recipe, agreement: Agreement, output: Checkpoint) -> Shared:
    """What a folder says and holds beside the weights of ``once``.

    Args:
        recipe: with a path.
        agreement: of its models.
        output: what the weights are like.

    Raises:
        KingyoError: an architecture for which this was never tested, or one whose config cannot say that its
            layers come in another order.
    """
    kind = str(output.config.get("model_type"))
    if not can_share(output):
        raise KingyoError(
            OPTION,
            expected=f"one of {', '.join(SHAREABLE)}, for which it was tested",
            received=f"a model of type {kind}",
            remedy="Leave it out: layers that are passed twice are written twice.",
        )
    layers = _layers(recipe)
    stored, passed = (_config(agreement, hops) for hops in (layers, recipe.path))
    built, run = complete(stored), complete(passed)
    config = {
        **output.config,
        **{key: value for key, value in passed.items() if value != stored.get(key)},
        **{key: value for key, value in run.items() if value != built.get(key)},
        "model_type": f"{kind}_path",
        "architectures": ["PathForCausalLM"],
        "auto_map": {
            name: f"{Path(CODE_FILE).stem}.{made}"
            for name, made in (("AutoConfig", "PathConfig"), ("AutoModelForCausalLM", "PathForCausalLM"))
        },
        "path_layers": [layers.index(replace(hop, scale=1.0)) for hop in recipe.path],
        "path_scales": [hop.scale for hop in recipe.path],
        "layers_once": {key: value for key, value in built.items() if value != run.get(key)},
    }
    return Shared(n_layers=len(layers), n_hops=len(recipe.path), config=config, code=_code(kind))


def _layers(recipe: Recipe) -> list[Hop]:
    return list(dict.fromkeys(replace(hop, scale=1.0) for hop in recipe.path))


def _config(agreement: Agreement, hops: list[Hop] | tuple[Hop, ...]) -> dict[str, object]:
    """The config of a model of these layers, one after the other."""
    chosen = [(agreement.sources[hop.model].config, hop.layer) for hop in hops]
    return with_layers(agreement.like.config, chosen, agreement.stacks[MAIN].part)


def _code(kind: str) -> str:
    """Our ``modeling_path.py``, which is Llama's, for models of another type."""
    from transformers import CONFIG_MAPPING, PretrainedConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = cast("Mapping[str, type[PretrainedConfig]]", CONFIG_MAPPING)[kind].__name__
    model = cast("Mapping[str, str]", MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)[kind]
    code = Path(__file__).with_name(CODE_FILE).read_text(encoding="utf-8")
    for ours, theirs in (
        ("LlamaForCausalLM", model),
        ("LlamaConfig", config),
        ("llama_path", f"{kind}_path"),
    ):
        code = code.replace(ours, theirs)
    return _FOR_PYRIGHT.sub("", code)

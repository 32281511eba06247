"""Find the tensors of a checkpoint in the model that transformers loaded from it.

For many architectures transformers renames, joins (the experts of a layer), splits or transposes weights on
loading. Its conversion mapping describes this, so this module names no architecture.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from typing import Any, cast

from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,  # pyright: ignore[reportUnknownVariableType]
)


def counterparts(model: PreTrainedModel, names: Iterable[str]) -> dict[str, tuple[str, Tensor]]:
    """Find the live counterpart of each tensor of a checkpoint.

    The counterpart is a tensor of the model, or a view into one that transformers joined. If transformers
    split a tensor, its parts are moved into one memory, which is the counterpart.

    Returns:
        Name -> (name of its live tensor, counterpart); for a split tensor, the name of its first part. Names
        without a counterpart are missing. A counterpart of another shape cannot be used: transformers changes
        this tensor in a way that cannot be undone in place.
    """
    state = cast("dict[str, Tensor]", model.state_dict(keep_vars=True))
    mapping = get_model_conversion_mapping(model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    prefix = model.base_model_prefix
    result: dict[str, tuple[str, Tensor]] = {}
    converted: dict[str, str] = {}
    for name in sorted(names, key=dot_natural_key):  # in the loader's order, on which some renamings depend
        live, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if live not in state and name in state:
            live, pattern = name, None
        if live in state and pattern is None:
            result[name] = live, state[live]
        elif live in state:
            converted[name] = live
    parts: dict[str, Tensor] = {}
    for each in converters:
        if converted and each.was_used():
            parts |= _parts(model, state, each, set(converted.values()))
    for name, live in converted.items():
        renamed, _ = rename_source_key(name, renamings, [], prefix, parts)
        if renamed in parts:
            result[name] = live, parts[renamed]
    return result


def _parts(
    model: PreTrainedModel, state: Mapping[str, Tensor], converter: WeightConverter, wanted: Collection[str]
) -> dict[str, Tensor]:
    """Undo a conversion; return its input tensors by name, as views."""
    undoing = converter.reverse_transform()
    groups: dict[str, dict[str, str]] = {}
    for live in sorted(state, key=dot_natural_key):
        name, pattern = undoing.rename_source_key(live)
        if pattern is not None:
            groups.setdefault(name, {})[live] = pattern
    parts: dict[str, Tensor] = {}
    for name, patterns in groups.items():
        if patterns.keys().isdisjoint(wanted):
            continue
        sources = {live: (pattern, state[live]) for live, pattern in patterns.items()}
        storages = {_memory(tensor) for tensor in state.values()}  # `_gather` frees some
        for part, tensor in _convert(model, undoing, name, sources).items():
            if _memory(tensor) in storages or _gather(model, state, converter, part, tensor):
                parts[part] = tensor
    return parts


def _gather(
    model: PreTrainedModel, state: Mapping[str, Tensor], converter: WeightConverter, name: str, joined: Tensor
) -> bool:
    """Make a tensor share its memory with its live parts, if possible; return whether it does."""
    live, pattern = deepcopy(converter).rename_source_key(name)
    if pattern is None:
        return False
    views = _convert(model, converter, live, {name: (pattern, joined)})
    if any(
        _memory(view) != _memory(joined) or not _fits(state.get(each), view) for each, view in views.items()
    ):
        return False
    starts = {
        (_memory(state[each]), state[each].storage_offset() - view.storage_offset())
        for each, view in views.items()
    }
    if len(starts) == 1:  # the parts are already contiguous
        ((_, start),) = starts
        joined.set_(state[live].untyped_storage(), start, joined.shape, joined.stride())
        return True
    for each, view in views.items():
        state[each].data = view
    return True


def _fits(live: Tensor | None, view: Tensor) -> bool:
    """Return whether a view can replace a live tensor with bit-identical results."""
    if live is None or not live.is_contiguous() or not view.is_contiguous():
        return False
    return (live.shape, live.dtype) == (view.shape, view.dtype)


def _convert(
    model: PreTrainedModel, converter: Any, name: str, sources: Mapping[str, tuple[str, Tensor]]
) -> dict[str, Tensor]:
    """Convert tensors, given with the patterns that their names match; return views where possible."""
    conversion = deepcopy(converter)
    for source, (pattern, tensor) in sources.items():
        conversion.add_tensor(name, source, pattern, tensor)
    with _Views():
        converted = conversion.convert(name, model=model, config=model.config)
    return {key: value[0] if isinstance(value, list) else value for key, value in converted.items()}


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class _Views(TorchFunctionMode):
    """Return tensors unchanged from ``contiguous``, so that conversions return views."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return args[0] if func is Tensor.contiguous else func(*args, **(kwargs or {}))

"""Bind every tensor of the output to tensors of models, which are fitted to the template of the output first.

A binding does not depend on values of parameters, so all candidates of a search can share one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints import Checkpoint, Layout, Stack, TensorInfo, fit, select, with_layers
from kingyo.merging.checkpoints.compatibility import Fit, View, counterpart, fitted, whole
from kingyo.merging.checkpoints.config_comparison import compare
from kingyo.merging.checkpoints.configs import kept_by_layers
from kingyo.merging.engine.jobs import TensorInput, TensorJob
from kingyo.merging.engine.modules import MAIN, ModuleMerge, SliceInput, SliceKey, SliceMerge
from kingyo.merging.recipe import BASE, MERGE, Recipe

_COPIED = "parts"  # stands for a module, for models whose tensors are copied
_DEFAULT = "default"  # mergekit's name of the only module of most models
_ALIASES = {
    "text_decoder": "language",
    "text_model": "language",
    "language_model": "language",
    "vision_tower": "vision",
    "vision_model": "vision",
    "visual": "vision",
    "audio_tower": "audio",
    "multi_modal_projector": "projector",
}
"""mergekit's names of modules -> names of parts."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The tensors of an output."""

    jobs: tuple[TensorJob, ...]  # in the order of the template, still without methods and parameters
    fitted: FittedModels  # the models that they are read from
    template: Checkpoint  # that of ``fitted``, with the output's layers if these are sliced


def bind(recipe: Recipe, modules: Sequence[ModuleMerge], models: Mapping[str, Checkpoint]) -> Binding:
    """Fit the models of a recipe without a layer path, and bind its tensors."""
    return _Binder(modules, _ModelFitter(recipe, models).run(modules)).run()


def binding_key(recipe: Recipe, modules: Sequence[ModuleMerge]) -> Hashable:
    """Return a key that is equal for recipes that differ only in the values of parameters."""
    shapes = tuple((module.name, tuple(map(_shape_of, module.by_position.values()))) for module in modules)
    parts = tuple(recipe.parts.items())
    return recipe.base_model, recipe.template, recipe.frame, parts, recipe.resize, shapes


def _shape_of(piece: SliceMerge) -> object:
    entries = tuple((entry.reference, entry.start) for entry in piece.entries)
    return piece.n_layers, piece.base is None, entries


class _Binder:
    def __init__(self, modules: Sequence[ModuleMerge], fits: FittedModels) -> None:
        self._fits = fits
        self._modules = {module.name: module for module in modules}
        self._layers: dict[str, list[tuple[str, int]]] = {}
        self._infos: dict[str, TensorInfo] = {}

    def run(self) -> Binding:
        jobs = tuple(self._jobs())
        template = self._template() if self._layers else self._fits.template
        return Binding(jobs=jobs, fitted=self._fits, template=template)

    def _jobs(self) -> Iterator[TensorJob]:
        template, assignment = self._fits.template, self._fits.assignment
        layout = template.layout
        for info in template.tensors.values():
            if info.name in assignment.copied:
                yield self._copied(info, assignment.copied[info.name])
                continue
            module = self._modules[assignment.modules[info.name]]
            if not module.is_sliced:
                yield self._complete(info, module, 0, layout.depth(info.name))
                continue
            stack, own = assignment.stacks[module.name], layout.stack(info.name)
            if own is None or own.prefix != stack.prefix:
                depth = layout.depth(info.name)
                yield self._complete(info, module, module.outside(depth), depth)
            elif module.name not in self._layers:  # the first tensor of a layer stands for all layers
                yield from self._slices(module, _LayerShapes(template, stack))

    def _job(
        self,
        name: str,
        info: TensorInfo,
        inputs: tuple[TensorInput, ...],
        base: TensorInput | None = None,
        depth: float = 0.0,
        key: SliceKey | None = None,
    ) -> TensorJob:
        self._infos[name] = replace(info, name=name)
        return TensorJob(
            name=name,
            shape=info.shape,
            dtype=info.stored_dtype if info.is_floating else info.dtype,
            inputs=inputs,
            base=base,
            depth=depth,
            key=key,
        )

    def _copied(self, info: TensorInfo, reference: str) -> TensorJob:
        shape = self._fits.models[reference].tensors[info.name].shape
        if shape != info.shape:
            received = f"{list(shape)} in {reference}, which it is copied from"
            remedy = "Merge this part too, or remove resize."
            raise KingyoError(info.name, f"{list(info.shape)}, as resize gives it", received, remedy)
        return self._job(info.name, info, (TensorInput(reference=reference, tensor=info.name),))

    def _complete(self, info: TensorInfo, module: ModuleMerge, at: int, depth: float) -> TensorJob:
        def read(entry: SliceInput) -> TensorInput:
            return TensorInput(reference=self._fits.keys[module.name, entry.reference], tensor=info.name)

        piece = module.by_position[at]
        inputs = tuple(map(read, piece.merged))
        return self._job(info.name, info, inputs, piece.base and read(piece.base), depth, (module.name, at))

    def _slices(self, module: ModuleMerge, shapes: _LayerShapes) -> Iterator[TensorJob]:
        layers = self._layers[module.name] = []
        for at, piece in enumerate(module.pieces):
            n_layers, models, first = piece.n_layers, self._fits.models, len(layers)
            assert n_layers is not None
            stacks = {each.reference: shapes.counterpart(models[each.reference]) for each in piece.entries}
            for each in piece.entries:
                end, n_own = each.start + n_layers, len(stacks[each.reference].blocks)
                if end > n_own:
                    where = f"{piece.where}: layer_range of {each.reference}"
                    expected = f"layers of [0, {n_own}], which is all that it has"
                    remedy = "Count layers from 0; the end is the number after the last layer."
                    raise KingyoError(where, expected, f"[{each.start}, {end}]", remedy)
            for k in range(n_layers):
                yield from self._layer(piece, (module.name, at), shapes, stacks, first, k)
            one = piece.entries[0]
            layers += [(one.reference, one.start + k) for k in range(n_layers)]

    def _layer(
        self,
        piece: SliceMerge,
        key: SliceKey,
        shapes: _LayerShapes,
        stacks: Mapping[str, Stack],
        first: int,
        k: int,
    ) -> Iterator[TensorJob]:
        """Yield the tensors of layer k of a slice, whose first layer is ``first`` of the output."""
        models, n_layers = self._fits.models, piece.n_layers or 1
        layers: list[tuple[SliceInput, dict[str, TensorInfo]]] = []
        for each in piece.entries:
            stack, known = stacks[each.reference], models[each.reference].tensors
            layers.append((each, {stack.rest(name): known[name] for name in stack.blocks[each.start + k]}))
        (one, tensors), *others = layers
        title = f"layer {one.start + k} of {one.reference}"
        for other, its in others:
            odd = [rest for rest in tensors.keys() | its.keys() if _form(tensors, rest) != _form(its, rest)]
            if odd:
                mine, yours = (_form(each, min(odd)) for each in (tensors, its))
                received = f"{min(odd)}: {mine} in {title}, {yours} in that of {other.reference}"
                remedy = "Merge layers of models of one architecture."
                raise KingyoError(piece.where, "layers with the same tensors", received, remedy)
        shapes.check(tensors, title)
        depth = k / (n_layers - 1) if n_layers > 1 else 1.0
        for rest, info in tensors.items():
            inputs = tuple(
                TensorInput(reference=each.reference, tensor=own[rest].name) for each, own in layers
            )
            base, merged = (None, inputs) if piece.base is None else (inputs[0], inputs[1:])
            yield self._job(f"{shapes.prefix}.{first + k}.{rest}", info, merged, base, depth, key)

    def _template(self) -> Checkpoint:
        template = self._fits.template
        config = template.config
        for name, layers in self._layers.items():
            configs = [(self._fits.models[reference].config, number) for reference, number in layers]
            stack = self._fits.assignment.stacks[name]
            stack.check_order([number for _, number in layers])
            config = with_layers(config, configs, stack.part)
        return Checkpoint(
            reference=template.reference,
            path=template.path,
            config=config,
            tensors=self._infos,
            stem=template.stem,
        )


class _LayerShapes:
    """The names and shapes of tensors that layers of the output may have: those of the template's layers."""

    def __init__(self, template: Checkpoint, stack: Stack) -> None:
        self.prefix = stack.prefix
        self._template = template
        self._stack = stack
        self._known: dict[str, set[tuple[int, ...]]] = {}
        for names in stack.blocks.values():
            for name in names:
                self._known.setdefault(stack.rest(name), set()).add(template.tensors[name].shape)

    def counterpart(self, model: Checkpoint) -> Stack:
        stack = counterpart(self._template, model, self._stack)
        if stack is None:
            received = ", ".join(f"{each.prefix}.…" for each in model.layout.stacks) or "no layers"
            remedy = "Use slices of models of one architecture."
            raise KingyoError(model.reference, f"layers called {self.prefix}.0 and so on", received, remedy)
        numbers = list(stack.blocks)
        if not stack.is_numbered or numbers != list(range(len(numbers))):
            received = f"{stack.prefix} with {', '.join(map(str, numbers[:5]))}, …"
            remedy = "Merge the complete model, below models:."
            raise KingyoError(model.reference, "layers that are numbered 0, 1, 2, …", received, remedy)
        return stack

    def check(self, tensors: Mapping[str, TensorInfo], layer: str) -> None:
        for rest, info in tensors.items():
            shapes = self._known.get(rest, set[tuple[int, ...]]())
            if info.shape not in shapes:
                wanted = " or ".join(str(list(shape)) for shape in sorted(shapes)) or "none of this name"
                expected = f"layers that fit {self._template.reference}, whose {rest} is {wanted}"
                received = f"{list(info.shape)} in {layer}"
                remedy = "Use slices of models of one architecture and size."
                raise KingyoError(info.name, expected, received, remedy)


def _form(tensors: Mapping[str, TensorInfo], name: str) -> str:
    info = tensors.get(name)
    return "none" if info is None else f"{list(info.shape)}{'' if info.is_floating else f' {info.dtype}'}"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The origin of every tensor of a model."""

    copied: Mapping[str, str]  # name of a copied tensor -> reference of its model
    modules: Mapping[str, str]  # name of any other tensor -> name of the module that makes it
    stacks: Mapping[str, Stack]  # name of a sliced module -> the stack of layers that it slices

    def names(self, module: ModuleMerge) -> list[str]:
        return [name for name, its in self.modules.items() if its == module.name]


@dataclass(frozen=True, kw_only=True)
class FittedModels:
    """Models that can be merged tensor by tensor."""

    # the model that gives the output its names, shapes and config, before layers are sliced
    template: Checkpoint
    # the fitted models. A model that several modules read in different shapes has several keys.
    models: Mapping[str, Checkpoint]
    # (module, reference) -> the key in ``models`` by which the module reads the model
    keys: Mapping[tuple[str, str], str]
    assignment: Assignment  # the origin of every tensor of ``template``; ``copied`` has keys of ``models``
    warnings: tuple[str, ...]
    is_changed: bool  # whether any model is read in other shapes or under other names than stored


class _ModelFitter:
    """Fit models to the template: the frame, else the base, else the first model; module by module."""

    def __init__(self, recipe: Recipe, opened: Mapping[str, Checkpoint]) -> None:
        self._recipe = recipe
        self._opened = opened
        self._first = recipe.template
        self._template = opened[self._first]
        self._models: dict[str, Checkpoint] = dict(opened)
        self._keys: dict[tuple[str, str], str] = {}
        self._fits: list[Fit] = []
        self._warnings: list[str] = []

    def run(self, modules: Sequence[ModuleMerge]) -> FittedModels:
        given = _assign(self._recipe, modules, self._template)
        by_tensor, copied = dict(given.modules), dict(given.copied)
        for module in modules:
            result = self._module(module, given)
            by_tensor |= {
                name: module.name for name in result.like.tensors if name not in self._template.tensors
            }
            copied |= dict.fromkeys(result.unmerged, self._first)
        for reference in dict.fromkeys(given.copied.values()):
            names = [name for name, its in given.copied.items() if its == reference]
            self._fit(_COPIED, [reference], names)
            copied |= dict.fromkeys(names, self._keys[_COPIED, reference])
        return FittedModels(
            template=self._joined_template(),
            models=self._models,
            keys=self._keys,
            assignment=replace(given, modules=by_tensor, copied=copied),
            warnings=tuple(dict.fromkeys(self._warnings)),
            is_changed=any(model is not self._opened.get(key) for key, model in self._models.items()),
        )

    def _module(self, module: ModuleMerge, assignment: Assignment) -> Fit:
        """Fit the models of a module; only their tensors outside of layers if these are sliced."""
        names = assignment.names(module)
        if not module.is_sliced:
            references = [each.reference for each in module.pieces[0].entries]
            is_partial = assignment.copied or len(names) < len(assignment.modules)
            return self._fit(module.name, references, names if is_partial else None)
        stack = assignment.stacks[module.name]
        pieces = module.by_position
        for each in (entry for piece in pieces.values() for entry in piece.entries):
            kept = kept_by_layers(self._template.config, stack.part)
            model = self._opened[each.reference]
            self._warnings += compare(self._template, model, [stack.part], kept=kept)
        outer = [name for name in names if self._template.layout.stack(name) is not stack]
        entries = [each for depth in (0.0, 1.0) for each in pieces[module.outside(depth)].entries]
        return self._fit(module.name, [each.reference for each in entries], outer, without=stack)

    def _fit(
        self,
        module: str,
        references: Sequence[str],
        only: Collection[str] | None,
        without: Stack | None = None,
    ) -> Fit:
        others = {
            reference: _without_layers(self._opened[reference], without, self._template)
            for reference in references
        }
        result = fit(self._template, list(others.values()), resize=self._recipe.resize, only=only)
        for reference, model in others.items():
            as_read = result.like if model is self._template else result.models[model.reference]
            if _is_as_stored(as_read, model):
                self._keys[module, reference] = reference
                continue
            key = reference if only is None else f"{reference} ({module or 'outside of slices'})"
            self._keys[module, reference] = key
            self._models[key] = as_read
        self._fits.append(result)
        self._warnings += result.warnings
        return result

    def _joined_template(self) -> Checkpoint:
        changed = [each for each in self._fits if each.like is not self._template]
        if len(self._fits) == 1 or not changed:
            return changed[0].like if changed else self._template
        views: dict[str, View] = {name: whole(self._template, name, name) for name in self._template.tensors}
        config = dict(self._template.config)
        for each in changed:
            views |= {n: v for n, v in each.views.items() if n not in views or v.info != views[n].info}
            pairs = each.like.config.items()
            config |= {key: value for key, value in pairs if self._template.config.get(key) != value}
        return fitted(self._template, views, config)


def _without_layers(model: Checkpoint, stack: Stack | None, template: Checkpoint) -> Checkpoint:
    """Return a model without its layers, whose number may differ; the template is returned unchanged."""
    if stack is None or model is template:
        return model
    layers = [own for own in model.layout.stacks if own.prefix == stack.prefix]
    inside = {name for own in layers for names in own.blocks.values() for name in names}
    return replace(model, tensors={name: each for name, each in model.tensors.items() if name not in inside})


def _is_as_stored(as_read: Checkpoint, model: Checkpoint) -> bool:
    return as_read is model or all(
        info == model.tensors.get(name)
        and [each is model for each, _ in as_read.needs(name).others] == [True]
        for name, info in as_read.tensors.items()
    )


def _assign(recipe: Recipe, modules: Sequence[ModuleMerge], template: Checkpoint) -> Assignment:
    layout = template.layout
    has_parts = bool(recipe.parts) or recipe.frame is not None
    uses = select(layout, recipe.parts, recipe.frame) if has_parts else {}
    copied = {name: use for name, use in uses.items() if use != MERGE}
    if BASE in copied.values():
        if recipe.base_model is None:
            remedy = "Name it, or replace base by its reference below parts:."
            raise KingyoError("base_model", "the model that parts are copied from", "nothing", remedy)
        copied = {name: recipe.base_model if use == BASE else use for name, use in copied.items()}
    by_tensor = _by_tensor([name for name in layout.names if name not in copied], modules, layout)
    assignment = Assignment(copied=copied, modules=by_tensor, stacks={})
    stacks = {
        module.name: _one_stack(module, assignment.names(module), layout)
        for module in modules
        if module.is_sliced
    }
    return Assignment(copied=copied, modules=by_tensor, stacks=stacks)


def _by_tensor(names: Sequence[str], modules: Sequence[ModuleMerge], layout: Layout) -> dict[str, str]:
    if modules[0].name == MAIN or (len(modules) == 1 and modules[0].name == _DEFAULT):
        return dict.fromkeys(names, modules[0].name)
    owners = _by_part(modules, layout)
    for name in names:
        part = layout.part(name)
        if part not in owners:
            expected = f"a module for every part of this model: {', '.join(layout.parts)}"
            remedy = f"Add one, or copy it from the base: parts: {{{part}: base, …}}."
            raise KingyoError("modules", expected, f"none for {part}, with {name}", remedy)
    return {name: owners[layout.part(name)] for name in names}


def _by_part(modules: Sequence[ModuleMerge], layout: Layout) -> dict[str, str]:
    owners: dict[str, str] = {}
    for module in modules:
        part = _ALIASES.get(module.name, module.name) if module.name not in layout.parts else module.name
        if part not in layout.parts:
            expected, remedy = (
                f"parts of this model: {', '.join(layout.parts)}",
                suggest(module.name, layout.parts),
            )
            raise KingyoError("modules", expected, f"'{module.name}'", remedy)
        if part in owners:
            received = f"{owners[part]} and {module.name}, which are both {part}"
            raise KingyoError("modules", "each part once", received, "Keep one of them.")
        owners[part] = module.name
    return owners


def _one_stack(module: ModuleMerge, names: Sequence[str], layout: Layout) -> Stack:
    inside = {name for name in names if layout.stack(name) is not None}
    stacks = [
        stack for stack in layout.stacks if any(inside.intersection(block) for block in stack.blocks.values())
    ]
    if len(stacks) != 1:
        raise KingyoError(
            "slices" if module.name == MAIN else f"modules.{module.name}",
            "slices of a model with one stack of layers",
            ", ".join(f"{stack.name} ({stack.prefix})" for stack in stacks) or "no layers",
            f"Name parts below modules: ({', '.join(layout.parts)}), each with slices: or models:.",
        )
    return stacks[0]

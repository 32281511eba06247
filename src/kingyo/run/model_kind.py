"""Find the kind of a run's models, check that it fits the tasks, and load models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.folder_files import read_json
from kingyo.checkpoints.locate import open_together
from kingyo.checkpoints.model_reference import component_references, parse_reference
from kingyo.io.model_names import local_path
from kingyo.io.pipeline_index import PIPELINE
from kingyo.models.kinds import (
    AllRead,
    HasLanguagePart,
    InPipeline,
    Live,
    LoadOptions,
    ModelKind,
    Options,
    called,
    common_kind,
    kind_of,
    known_kind,
    load_live,
    require_needs,
)
from kingyo.run.config import RunConfig
from kingyo.runners.evaluate import task_crashes_as_errors
from kingyo.tasks import settings_of, single_tasks
from kingyo.types import SPLITS, Item, Task


def kind_of_models(
    models: Mapping[str, Checkpoint], name: str | None = None, folder: Path | None = None
) -> ModelKind:
    """Return the common kind of models by their names; ``name`` and ``folder`` name a kind explicitly."""
    pipelines = {key: model.pipeline_index for key, model in models.items()}
    return common_kind({key: model.config for key, model in models.items()}, name, folder, pipelines)


def layers_kind(model: Checkpoint, kind: ModelKind) -> ModelKind:
    """Return the kind that loads a model for its layers: its own if ``kind`` takes these, else ``kind``."""
    own = known_kind(model.config)
    language_kinds = kind.language_kinds if isinstance(kind, HasLanguagePart) else ()
    return own if own is not None and own.name in language_kinds else kind


def needed_around(checkpoint: Checkpoint, find: Callable[[], ModelKind]) -> Sequence[str]:
    """Return the other folders of a pipeline that the kind of a component needs."""
    kind = None if checkpoint.pipeline is None else find()
    return kind.around if isinstance(kind, InPipeline) else ()


def open_alone(
    reference: str, name: str | None = None, *, allow_pickle: bool = False
) -> tuple[Checkpoint, ModelKind]:
    """Open the model of a command, with the other folders of its pipeline that its kind needs.

    The folder of a pipeline stands for its only component of such a kind.
    """
    components = [each for each in component_references(reference) if _is_in_pipeline(each, name)]
    chosen = components[0] if len(components) == 1 else reference
    checkpoint = open_together([chosen], allow_pickle=allow_pickle, templates=[chosen])[chosen]
    kind = kind_of_models({reference: checkpoint}, name)
    if around := needed_around(checkpoint, lambda: kind):
        checkpoint = open_checkpoint(chosen, allow_pickle=allow_pickle, around=around, among=[checkpoint])
    return checkpoint, kind


def _is_in_pipeline(reference: str, name: str | None) -> bool:
    """Return whether a kind, or the named one, takes a component and needs other folders of its pipeline."""
    path = local_path(parse_reference(reference).model)
    config = read_json(path / "config.json", "a model's config.json")
    index = read_json(path.parent / PIPELINE, "the index of a pipeline")
    kind = known_kind(config, index) if name is None else kind_of(config, name)
    return isinstance(kind, InPipeline) and called(kind, "takes", lambda: bool(kind.takes(config, index)))


def require_answers(task: Task, kind: ModelKind) -> None:
    """Check that a kind of model meets the ``needs`` of a task, if it declares any."""
    for single in single_tasks(task):
        needs = getattr(single, "needs", None)
        if needs is not None:
            require_needs(f"task {single.name}", needs, kind)


def check_items(task: Task, kind: ModelKind, path: Path) -> None:
    """Check that models can read all items of all splits, for example that no prompt is too long."""
    reader = called(kind, "reader", lambda: kind.reader(path))
    if reader is None:
        return
    for single in single_tasks(task):
        for split in SPLITS:
            with task_crashes_as_errors(single), suppress(AllRead):
                _read(single, reader, single.items(split))


def _read(task: Task, reader: object, items: Sequence[Item]) -> None:
    try:
        task.score(reader, items)
    except AttributeError as error:
        if error.obj is not reader:  # else the task needs more than what a reader has
            raise


def load_checkpoint(checkpoint: Checkpoint, kind: ModelKind, options: LoadOptions) -> Live:
    """Load a model, with its LoRA if it has one."""
    live = load_live(kind, checkpoint.path, options)
    checkpoint.load_into(live.weights)
    return live


def load_options(config: RunConfig, scratch: Path | None = None) -> LoadOptions:
    """Return the options for live models of a run.yaml; ``scratch`` is a folder for temporary files."""
    return LoadOptions(
        dtype=config.merge.dtype,
        device=config.device,
        batch_size=config.batch_size,
        allow_pickle=config.allow_pickle,
        scratch=scratch,
    )


def task_options(config: RunConfig, folder: Path) -> list[Options]:
    """Return the settings of each task, such as ``max_new_tokens``."""
    return [vars(settings_of(spec, folder)) for spec in config.specs.values()]

"""The kind of a run's models: whether they are of one, can answer its tasks, and how they are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.folder_files import read_json
from kingyo.checkpoints.model_reference import PIPELINE, component_references, local_path, parse_reference
from kingyo.errors import KingyoError
from kingyo.models.kinds import (
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
from kingyo.tasks import settings_of, single_tasks
from kingyo.types import SPLITS, Task


def kind_of_models(
    models: Mapping[str, Checkpoint], name: str | None = None, folder: Path | None = None
) -> ModelKind:
    """Return the kind of models, given by what the user calls them; ``name`` and ``folder`` say which.

    Raises:
        KingyoError: see ``kingyo.models.kinds.common_kind``.
    """
    pipelines = {model: each.pipeline_index for model, each in models.items()}
    return common_kind({model: each.config for model, each in models.items()}, name, folder, pipelines)


def needed_around(checkpoint: Checkpoint, find: Callable[[], ModelKind]) -> Sequence[str]:
    """Return the folders of the pipeline around a component that its kind needs; ``find`` returns the kind.

    Raises:
        KingyoError: as ``find`` does, which is asked of components alone.
    """
    kind = None if checkpoint.pipeline is None else find()
    return kind.around if isinstance(kind, InPipeline) else ()


def open_alone(
    reference: str, name: str | None = None, *, allow_pickle: bool = False
) -> tuple[Checkpoint, ModelKind]:
    """Open a model that a command names, with what its kind needs of the pipeline around it.

    A folder with a pipeline stands for the component that a kind takes which needs others of it.

    Args:
        reference: see ``open_checkpoint``.
        name: the kind; the one that takes the model when None.
        allow_pickle: see ``open_checkpoint``.

    Raises:
        KingyoError: see ``open_checkpoint`` and ``kingyo.models.kinds.common_kind``.
    """
    taken = [each for each in component_references(reference) if _is_in_pipeline(each, name)]
    chosen = taken[0] if len(taken) == 1 else reference
    found = open_checkpoint(chosen, allow_pickle=allow_pickle)
    kind = kind_of_models({reference: found}, name)
    if around := needed_around(found, lambda: kind):
        found = open_checkpoint(chosen, allow_pickle=allow_pickle, around=around)
    return found, kind


def _is_in_pipeline(reference: str, name: str | None) -> bool:
    """Whether a component is taken by a kind, the named one if any, that needs others of its pipeline."""
    path = local_path(parse_reference(reference).model)
    config = read_json(path / "config.json", "a model's config.json")
    index = read_json(path.parent / PIPELINE, "the index of a pipeline")
    kind = known_kind(config, index) if name is None else kind_of(config, name)
    return isinstance(kind, InPipeline) and called(kind, "takes", lambda: bool(kind.takes(config, index)))


def require_answers(task: Task, kind: ModelKind) -> None:
    """Refuse a task whose ``needs`` a kind of model does not meet; one that names none is not checked.

    Raises:
        KingyoError: the live models of the kind cannot answer it.
    """
    for each in single_tasks(task):
        needs = getattr(each, "needs", None)
        if needs is not None:
            require_needs(f"task {each.name}", needs, kind)


def check_items(task: Task, kind: ModelKind, path: Path) -> None:
    """Ask all items of all splits of what reads them for a model: a long test item must not end a search.

    Args:
        task: of the run.
        kind: of its models.
        path: folder of a model like the candidates; its weights are not read.

    Raises:
        KingyoError: an item that the model could not answer.
    """
    reader = called(kind, "reader", lambda: kind.reader(path))
    if reader is None:
        return
    for each in single_tasks(task):
        for split in SPLITS:
            try:
                each.score(reader, each.items(split))
            except KingyoError:
                raise
            except (Exception, SystemExit):  # noqa: BLE001 (AllRead; or an own task that needs answers)
                continue


def load_checkpoint(checkpoint: Checkpoint, kind: ModelKind, options: LoadOptions) -> Live:
    """Load a model, with the LoRA that it may be named with.

    Raises:
        KingyoError: see ``kingyo.models.kinds.load_live``.
    """
    live = load_live(kind, checkpoint.path, options)
    checkpoint.load_into(live.weights)
    return live


def load_options(config: RunConfig) -> LoadOptions:
    """Return how a run.yaml wants live models to be loaded."""
    return LoadOptions(
        dtype=config.merge.dtype,
        device=config.device,
        batch_size=config.batch_size,
        allow_pickle=config.allow_pickle,
    )


def task_options(config: RunConfig, folder: Path) -> list[Options]:
    """Return the settings of each task by their keys, for the kind of model: such as ``max_new_tokens``.

    Raises:
        KingyoError: an unknown kind of task, or an option that it does not take.
    """
    return [vars(settings_of(spec, folder)) for spec in config.specs.values()]

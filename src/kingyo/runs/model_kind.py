"""Find the kind of a run's models, check that it fits the tasks, and load models."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any, cast

from kingyo.core.io.model_names import local_path
from kingyo.core.io.pipeline_index import PIPELINE
from kingyo.core.io.yaml import read_json
from kingyo.core.types import SPLITS, Item, Task
from kingyo.merging.checkpoints import Checkpoint, open_checkpoint
from kingyo.merging.checkpoints.locate import open_together
from kingyo.merging.checkpoints.model_reference import component_references, parse_reference
from kingyo.models.kinds import (
    HasLanguagePart,
    HasPreprocessor,
    InPipeline,
    Live,
    LoadOptions,
    LoadsWeights,
    ModelKind,
    Options,
    Question,
    call_kind,
    common_kind,
    kind_of,
    known_kind,
    load_live,
    members,
    require_needs,
)
from kingyo.runs.config import RunConfig
from kingyo.search.runners.evaluate import task_crashes_as_errors
from kingyo.tasks import settings_of, single_tasks


def kind_of_models(
    models: Mapping[str, Checkpoint], name: str | None = None, folder: Path | None = None
) -> ModelKind:
    """Return the common kind of models by their names, or the one that ``name`` and ``folder`` name."""
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
    components = [each for each in component_references(reference).values() if _is_in_pipeline(each, name)]
    chosen = components[0] if len(components) == 1 else reference
    checkpoint = open_together([chosen], allow_pickle=allow_pickle, templates=[chosen])[chosen]
    kind = kind_of_models({reference: checkpoint}, name)
    if around := needed_around(checkpoint, lambda: kind):
        checkpoint = open_checkpoint(chosen, allow_pickle=allow_pickle, around=around, among=[checkpoint])
    return checkpoint, kind


def _is_in_pipeline(reference: str, name: str | None) -> bool:
    path = local_path(parse_reference(reference).model)
    config = read_json(path / "config.json")
    index = read_json(path.parent / PIPELINE)
    kind = known_kind(config, index) if name is None else kind_of(config, name)
    return isinstance(kind, InPipeline) and call_kind(kind, "takes", lambda: bool(kind.takes(config, index)))


def require_answers(task: Task, kind: ModelKind) -> None:
    for single in single_tasks(task):
        needs = getattr(single, "needs", None)
        if needs is not None:
            require_needs(f"task {single.name}", needs, kind)


def check_items(task: Task, kind: ModelKind, path: Path) -> None:
    """Check that models can read all items of all splits, for example that no prompt is too long."""
    own = preprocessor_of(kind, path)
    asked = (
        first_question(single, kind, own, single.items(split))
        for single in single_tasks(task)
        for split in SPLITS
    )
    questions = [each for each in asked if each is not None]
    for error in call_kind(kind, "validate", lambda: list(islice(kind.validate(path, questions), 1))):
        raise error


def preprocessor_of(kind: ModelKind, path: Path) -> Any:
    if not isinstance(kind, HasPreprocessor):
        return None
    return call_kind(kind, "preprocessor", lambda: kind.preprocessor(path))


def first_question(task: Task, kind: ModelKind, own: Any, items: Sequence[Item]) -> Question | None:
    """Return the first call of a model by which a single task would ask about items; None if it is not known.

    ``own`` is the result of ``preprocessor_of``.
    """
    rehearsal = _Rehearsal(kind, own)
    with task_crashes_as_errors(task):
        try:
            task.score(rehearsal, items)
        except _Asked as asked:
            return asked.question
        except AttributeError as error:
            if error.obj is not rehearsal:  # else the task needs more than is known without weights
                raise
    return None


class _Asked(BaseException):
    def __init__(self, question: Question | None) -> None:
        self.question = question


class _Rehearsal:
    """Stands for a live model until a task calls a method that needs weights."""

    def __init__(self, kind: ModelKind, own: Any) -> None:
        self._protocols = kind.provides
        self._own = own

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._own, name):
            return getattr(self._own, name)
        methods = (getattr(each, name, None) for each in self._protocols if name in members(each))
        method = next((each for each in methods if callable(each)), None)
        if method is None:
            raise AttributeError(name, name=name, obj=self)

        def ask(*args: Any, **kwargs: Any) -> None:
            bound = signature(method).bind(self, *args, **kwargs)
            bound.apply_defaults()
            _, *given = bound.arguments.items()
            inputs: object = given[0][1] if given else ()
            if not isinstance(inputs, list | tuple):
                raise _Asked(None)
            raise _Asked(Question(name, cast("Sequence[Any]", inputs), dict(given[1:])))

        return ask


def load_checkpoint(checkpoint: Checkpoint, kind: ModelKind, options: LoadOptions) -> Live:
    """Load a model, with its LoRA if it has one."""
    live = load_live(kind, checkpoint.path, options)
    if isinstance(live, LoadsWeights):
        live.load_weights((name, checkpoint.read(name)) for name in checkpoint.tensors)
    else:
        checkpoint.load_into(live.weights)
    return live


def load_options(config: RunConfig, scratch: Path | None = None) -> LoadOptions:
    return LoadOptions(
        dtype=config.merge.dtype,
        device=config.device,
        batch_size=config.batch_size,
        allow_pickle=config.allow_pickle,
        scratch=scratch,
    )


def task_options(config: RunConfig, folder: Path) -> list[Options]:
    return [vars(settings_of(spec, folder)) for spec in config.specs.values()]

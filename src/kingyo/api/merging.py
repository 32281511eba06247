"""Merge models, and open them."""

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from kingyo.api.options import AnyPath, as_path, as_reference, checked, takes
from kingyo.api.progress import SILENT, Progress
from kingyo.core.io.units import parse_size
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints import open_checkpoint as open_model
from kingyo.merging.engine import MergeOptions, rooted
from kingyo.merging.engine.book import PlannedOutput
from kingyo.merging.engine.preflight import Loader, Preflight, check_merge, write
from kingyo.merging.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.merging.recipe import load_recipe as read_recipe
from kingyo.models.kinds import known_kind

AnyRecipe = str | Path | Mapping[str, object] | Recipe


@takes(MergeOptions, "max_shard_bytes")
def merge(
    recipe: AnyRecipe,
    out: AnyPath,
    *,
    folder: AnyPath | None = None,
    max_shard_size: str | int = "5GB",
    progress: Progress | None = None,
    **options: object,
) -> Path:
    """Merge models according to a recipe into a folder that transformers or diffusers loads.

    Problems that do not prevent the merge are issued as ``UserWarning``.

    Args:
        recipe: a file with one or several recipes in mergekit's format, the content of such a file as a
            mapping, or a ``Recipe``.
        out: the folder to create. Several recipes create one subfolder each.
        folder: base folder for relative paths in the recipe. Default: the folder of the file, or
            the current folder.
        max_shard_size: maximum size of a weight file, such as "5GB" or a number of bytes.
        progress: sees the bytes that are written.
        options: see below.

    Raises:
        KingyoError: the recipe, a model or ``out`` is invalid; nothing is written.

    Example:
        >>> kingyo.merge("recipe.yaml", "merged", seed=1)  # doctest: +SKIP
        PosixPath('merged')
    """
    size = parse_size(f"{max_shard_size}", "max_shard_size")
    preflight = check_and_fetch(
        _recipe(recipe),
        as_path("out", out),
        checked(MergeOptions, {**options, "max_shard_bytes": size}),
        None if folder is None else as_path("folder", folder),
    )
    if preflight.error is not None:
        raise preflight.error
    for finding in preflight.of("warning"):
        warnings.warn(str(finding.error), stacklevel=2)
    for output in preflight.outputs:
        ModelWriting(preflight, output, progress or SILENT).run()
    return preflight.out


def _recipe(recipe: AnyRecipe) -> Path | RecipeBook:
    if not isinstance(recipe, Recipe | Mapping):
        return as_path("recipe", recipe, "a mapping or a Recipe")
    parsed = recipe if isinstance(recipe, Recipe) else Recipe.from_dict(recipe, "recipe")
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=parsed),))


def check_and_fetch(
    recipe: Path | RecipeBook, out: Path, options: MergeOptions, folder: Path | None = None
) -> Preflight:
    """Check a merge, and download missing weights after everything else is checked."""
    preflight = check_merge(recipe, out, options, folder=folder, fetch=False)
    if preflight.error is None and preflight.n_missing:
        return check_merge(recipe, out, options, folder=folder)
    return preflight


class ModelWriting:
    """One model of a merge while it is written; the ``Watch`` of its tensors.

    Attributes:
        nonfinite: tensors with NaN or infinity.
        seconds: the time that it took.
    """

    def __init__(self, preflight: Preflight, output: PlannedOutput, progress: Progress) -> None:
        self.nonfinite: list[str] = []
        self.seconds = 0.0
        self._preflight = preflight
        self._output = output
        self._progress = progress
        self._done = self._total = 0
        self._lock = Lock()

    def run(self) -> None:
        begun = time.monotonic()
        write(self._preflight, self._output, self, loader=loader_of(self._output))
        self.seconds = time.monotonic() - begun

    def start(self, n_bytes: int) -> None:
        self._total = n_bytes
        self.wrote(0)

    def wrote(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            name = self._output.out.name or str(self._output.out)
            self._progress.count(name, self._done, self._total)

    def broken(self, tensor: str) -> None:
        self.nonfinite.append(tensor)


def open_checkpoint(reference: AnyPath, *, allow_pickle: bool = False) -> Checkpoint:
    """Open a checkpoint without reading its weights.

    Args:
        reference: a folder, a Hub name, ``model+lora``, a component such as ``org/name/unet``, or a diffusion
            model in one ``.safetensors``.
        allow_pickle: whether to read weights that exist only as pickles. They are read with
            ``weights_only``.

    Raises:
        KingyoError: there is no such model, or its files are broken.
    """
    return open_model(as_reference("reference", reference), allow_pickle=allow_pickle)


def load_recipe(path: AnyPath) -> Recipe:
    """Read a recipe from a file with one. Relative paths of local models become absolute."""
    file = as_path("path", path)
    return rooted(read_recipe(file), file.parent.resolve())


def loader_of(output: PlannedOutput) -> Loader | None:
    """Return what loads an output, or None if no kind takes the model."""
    like = output.plan.like
    kind = known_kind(like.config, like.pipeline_index)
    return None if kind is None else Loader(kind.card.library, kind.card.auto_class, kind.card.pipeline_tag)

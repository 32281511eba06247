"""Read runs: their trials and results, the model to export, the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, cast

from kingyo.api.options import AnyPath, as_path, checked, takes
from kingyo.core.io.units import counted
from kingyo.core.types import SPLITS, Item, Split
from kingyo.errors import KingyoError
from kingyo.runs.config import RunConfig
from kingyo.runs.seed_runs import require_one_run
from kingyo.runs.setup import stored_config
from kingyo.store import RunStore
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.summary import summarize as summarize_store

_FRAME = '<iframe srcdoc="{}" style="width: 100%; height: 40em; border: 0"></iframe>'


@dataclass(frozen=True)
class StoredRun:
    """A run on disk, to read: finished, interrupted, or under way in another process.

    ``with kingyo.open_run(…) as run:`` closes its store.
    """

    folder: Path

    @cached_property
    def store(self) -> RunStore:
        """The store of every score, open for reading."""
        return RunStore.read(self.folder)

    def close(self) -> None:
        """Close the store; all methods but ``store`` open it anew."""
        if "store" in vars(self):
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def status(self) -> str:
        """``running``, ``finished`` or ``stopped``."""
        with RunStore.read(self.folder) as store:
            return store.status()

    @property
    def config(self) -> RunConfig:
        with RunStore.read(self.folder) as store:
            return stored_config(store)[0]

    @property
    def items(self) -> Mapping[Split, tuple[Item, ...]]:
        with RunStore.read(self.folder) as store:
            return store.items()

    def rows(self) -> list[dict[str, object]]:
        """Return a dict for each trial and baseline so far, in the order of asking.

        The keys are search, trial (its number), name (of a baseline), batch, parents, the mean score on
        ``fit``, ``validation`` and ``test`` (None if it was not scored), fit_items (how many items of fit it
        was scored on), failure, seconds, and a key for each gene.
        """
        with RunStore.read(self.folder) as store:
            scored = {split: {row.trial: row for row in store.summaries(split)} for split in SPLITS}
            axes = {name: _axes(facts) for name, facts in store.searches().items()}
            rows: list[dict[str, object]] = []
            for trial in store.trials():
                own = {split: rows_.get(trial.id) for split, rows_ in scored.items()}
                fit = own["fit"]
                rows.append(
                    {
                        "search": trial.search,
                        "trial": trial.asked.number,
                        "name": trial.name,
                        "batch": trial.batch,
                        "parents": list(trial.asked.parents),
                        **{split: None if row is None else row.mean for split, row in own.items()},
                        "fit_items": 0 if fit is None else fit.n,
                        "failure": next((row.failure for row in own.values() if row and row.failure), None),
                        "seconds": sum(row.build_seconds + row.score_seconds for row in own.values() if row),
                        **dict(zip(axes.get(trial.search, ()), trial.asked.genome, strict=False)),
                    }
                )
            return rows

    def trials(self) -> Any:
        """Return ``rows`` as a ``pandas.DataFrame``.

        Raises:
            KingyoError: pandas is not installed.
        """
        try:
            import pandas  # pyright: ignore[reportMissingTypeStubs]
        except ImportError as error:
            remedy = "Run `pip install pandas`, or use rows()."
            raise KingyoError("trials", "pandas", "an environment without it", remedy) from error
        return pandas.DataFrame(self.rows())

    def __repr__(self) -> str:
        summary = summarize(self)
        test = None if summary.winner is None else summary.winner.test
        score = "" if test is None else f", {test.in_percent('%')} on test"
        return f"<run {self.folder}: {summary.status}, {counted(summary.trials, 'trial')}{score}>"

    def _repr_html_(self) -> str:
        """Return the state of the run, and its report in a frame; without the extra ``report`` no report."""
        state = f"<p>{escape(repr(self)[1:-1])}</p>"
        with TemporaryDirectory() as folder:
            try:
                page = write_report(self, Path(folder) / "report.html")
            except KingyoError:
                return state
            return f"{state}{_FRAME.format(escape(page.read_text(encoding='utf-8')))}"


def _axes(facts: Mapping[str, object]) -> list[str]:
    axes = cast("list[Mapping[str, object]]", facts.get("axes") or [])
    return [str(axis["name"]) for axis in axes]


AnyRun = StoredRun | str | Path


def open_run(folder: AnyPath) -> StoredRun:
    """Open a run to read, also while its search goes on in another process.

    Raises:
        KingyoError: there is no run in the folder, or there are several.
    """
    run = StoredRun(folder=run_folder(as_path("folder", folder)))
    RunStore.read(run.folder).close()
    return run


def run_folder(run: AnyRun) -> Path:
    """Return the absolute folder of a run."""
    if isinstance(run, StoredRun):
        return run.folder
    folder = as_path("run", run, "a run of kingyo.open_run")
    require_one_run(folder)
    return folder.absolute()


def summarize(run: AnyRun) -> RunSummary:
    """Return the results of a run: winner, baselines, controls and comparisons, with n and intervals.

    The run need not be finished.
    """
    with RunStore.read(run_folder(run)) as store:
        return summarize_store(store)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which model of a run is exported, and how.

    At most one of the first three is given; by default it is the best of the bred model, the baselines and
    the controls.

    Attributes:
        trial: export one trial: 12, random:12, parameters:12 (weight search of a hybrid run), or a baseline
            such as uniform.
        search: export the winner of a search: main, random, grid, trained, tuned or parameters.
        pick: with several objectives: knee, or the number of a trial on the front.
        pipeline: for a merged component of a diffusers pipeline: write the full pipeline, or only the
            component.
        single_file: also write a diffusion model as one .safetensors in the layout of its original code.
    """

    trial: str | None = None
    search: str | None = None
    pick: str | None = None
    pipeline: bool = True
    single_file: bool = False


@takes(ExportOptions)
def export_model(run: AnyRun, out: AnyPath, **options: object) -> Path:
    """Write the best model of a run as a Hugging Face folder with its recipe and model card.

    Args:
        run: a run, or its folder.
        out: the folder to create.
        options: see below.

    Raises:
        KingyoError: there is no winner yet or no such trial, or ``out`` exists.
    """
    from kingyo.export import choose, export

    folder, numbers = as_path("out", out), ("trial", "pick")
    texts = {key: str(each) if key in numbers and each is not None else each for key, each in options.items()}
    how = checked(ExportOptions, texts)
    with RunStore.read(run_folder(run)) as store:
        chosen = choose(store, trial=how.trial, search=how.search, pick=how.pick)
        return export(store, folder, chosen, pipeline=how.pipeline, single_file=how.single_file)


def write_report(run: AnyRun, out: AnyPath | None = None) -> Path:
    """Write the report of a run: an HTML file that works offline, and its charts as images.

    Args:
        run: a run, or its folder.
        out: the HTML file. Default: ``report.html`` in the run folder.

    Raises:
        KingyoError: the extra ``report`` is not installed, or the file cannot be written.
    """
    from kingyo.views.page import write_report as write_report_of

    file = None if out is None else as_path("out", out)
    with RunStore.read(run_folder(run)) as store:
        return write_report_of(store, file)

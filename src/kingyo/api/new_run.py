"""A run that ``evolve`` can begin: its run.yaml is read, and checked as far as possible without models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.runs.config_file import asks_scout, config_from_data, with_denoisers

if TYPE_CHECKING:
    from kingyo.api.progress import Progress
    from kingyo.runs.config import RunConfig
    from kingyo.runs.run import Run
    from kingyo.scout.for_task import ScoutRequest


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run that has not begun.

    Attributes:
        data: the content of the run.yaml.
        folder: base of the relative paths in it.
        file: the run.yaml, whose name is stored; None without one.
        config: the settings; if a scout chooses the sources, with placeholders for them.
    """

    data: Mapping[str, object]
    folder: Path
    file: Path | None
    config: RunConfig

    @classmethod
    def of(cls, data: Mapping[str, object], folder: Path, file: Path | None, where: str) -> NewRun:
        """Check the content of a run.yaml; ``where`` names it in errors."""
        if asks_scout(data):
            from kingyo.scout.for_task import check_rest

            config = check_rest(data, folder, where)
            return cls(data={"name": config.name, **data}, folder=folder, file=file, config=config)
        config = with_denoisers(config_from_data(data, folder, where), folder)
        return cls(data=data, folder=folder, file=file, config=config)

    @property
    def asks_scout(self) -> bool:
        return asks_scout(self.data)

    def with_seed(self, seed: int) -> NewRun:
        return replace(
            self, data={**self.data, "seed": seed}, config=self.config.model_copy(update={"seed": seed})
        )

    def request(self, out: Path) -> ScoutRequest:
        """Return what a scout is asked for; ``out`` keeps what it measures."""
        from kingyo.scout.for_task import ScoutRequest

        return ScoutRequest.of(self.data, self.folder, out)

    def begin(self, out: Path, progress: Progress, seeds: Path | None = None) -> Run:
        """Find the candidates if a scout is asked, check everything, and create the run folder.

        Args:
            out: the new run folder.
            progress: sees the search for candidates.
            seeds: folder with the runs of other seeds, if the run is one of several.
        """
        from kingyo.api.scouting import find_candidates
        from kingyo.runs.begin import begin
        from kingyo.runs.run import Run

        if self.asks_scout:
            candidates = find_candidates(self.request(seeds or out), progress)
            return candidates.begin(out, seeds=seeds, file=self.file)
        return begin(Run.open(self.config, self.folder), out, seeds=seeds, file=self.file)

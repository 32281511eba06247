"""Find the bases that candidates name."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kingyo.core.io.model_names import HUB_NAME, is_local, local_path
from kingyo.core.io.pipeline_index import DENOISERS, PIPELINE
from kingyo.merging.checkpoints.model_reference import with_denoiser
from kingyo.scout.places import Place, is_model


class Names:
    """Find the candidate, the folder or the Hub name that a claim of a base means.

    Args:
        places: the candidates.
        base: the user's choice of a base, which need not be a candidate.
    """

    def __init__(self, places: Sequence[Place], base: str | None = None) -> None:
        names = [place.name for place in places if not place.is_adapter]
        if base is not None:
            names.insert(0, base)
        local = {name: _real(name) for name in names if is_local(name)}
        self._folders = {folder: name for name, folder in local.items()}
        self._hub = {_repository(name): name for name in names if name not in local}
        by_last: dict[str, list[str]] = {}
        for folder, name in self._folders.items():
            titled = folder.parent if (folder.parent / PIPELINE).is_file() else folder
            by_last.setdefault(titled.name.lower(), []).append(name)
        self._last = {last: names[0] for last, names in by_last.items() if len(names) == 1}

    def among(self, reference: str) -> str | None:
        """Return the candidate that a reference means, or None."""
        if is_local(reference):
            return self._folders.get(_real(with_denoiser(reference)))
        return self._hub.get(_repository(reference))

    def exact(self, reference: str) -> str:
        """Return a reference that the user wrote, or the candidate in the same folder."""
        return (self.among(reference) if is_local(reference) else None) or reference

    def all_meant(self, places: Sequence[Place]) -> list[str | None]:
        """Return what the claim of each candidate means: a candidate, a folder, or a name on the Hub."""
        meant = {i: self._meant(place) for i, place in enumerate(places) if not place.is_adapter}
        for name in meant.values():  # a LoRA names a pipeline, and other models say which component is merged
            if name is not None and not is_local(name):
                self._hub.setdefault(_repository(name), name)
        return [self._meant(place) if place.is_adapter else meant[i] for i, place in enumerate(places)]

    def _meant(self, place: Place) -> str | None:
        claim = place.claimed_base
        if claim is None:
            return None
        folder = _beside(place, claim)
        if folder is not None:
            return self.among(folder) or folder
        named = HUB_NAME.fullmatch(claim)
        if named is None and "/" in claim.strip("/"):
            return None
        parts = (f"{claim.lower()}/{component}" for component in DENOISERS)
        of_pipeline = next((self._hub[part] for part in parts if part in self._hub), None)
        known = self._hub.get(claim.lower()) or of_pipeline
        known = known or self._last.get(claim.rpartition("/")[2].lower())
        if known is not None or named is None:
            return known
        component = Path(place.name).name
        return f"{claim}/{component}" if component in DENOISERS and named["component"] is None else claim


def named_bases(places: Sequence[Place], meant: Sequence[str | None]) -> list[str]:
    """Return the bases that candidates name, the most named first; of equals, the candidates come first."""
    names = {place.name for place in places}
    pairs = zip(places, meant, strict=True)
    votes = Counter(name for place, name in pairs if name is not None and name != place.name)
    return sorted(votes, key=lambda name: (-votes[name], name not in names))


def _beside(place: Place, claim: str) -> str | None:
    """Return the folder that a claim means as a path from the candidate's folder, or from the one around."""
    if not place.is_local:
        return None
    home = local_path(place.name)
    home = home.parent if (home.parent / PIPELINE).is_file() else home
    for start in (home, home.parent):
        try:
            folder = Path(os.path.normpath(start / claim))
            if folder.is_dir() and is_model(folder) and _real(str(folder)) != home.resolve():
                here = Path.cwd()
                return with_denoiser(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
        except (OSError, ValueError):  # too long, a NUL, a folder that nobody may read
            continue
    return None


def _repository(name: str) -> str:
    return name.partition("@")[0].lower()


def _real(name: str) -> Path:
    return local_path(name).resolve()

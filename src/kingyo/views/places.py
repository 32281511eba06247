"""Places on a page that may be shared: no absolute paths, so that it tells nothing of the machine."""

from __future__ import annotations

import re
from pathlib import Path

_FOLDERS = re.compile(r"(?<![\w/.~:<])/(?:[^\s/:+'\"`<>]+/)+")
"""The folders of an absolute path, which may begin after a quote or a ``+``."""

_ABOVE = re.compile(r"(?<![\w./])(?:\.\./){2,}(?:[^\s/'\"`]+/)*")
"""The folders of a relative path that may lead through the root of the file system."""


def shown_folder(folder: Path) -> Path:
    """Return a folder as commands on the page name it: relative to the working directory, or its name."""
    if not folder.is_absolute():
        return folder
    here = Path.cwd()
    return folder.relative_to(here) if here in folder.parents else Path(folder.name)


def without_places(text: str, folder: Path) -> str:
    """Return a text with a run's folder as it is shown, and the last parts of other absolute paths."""
    if folder.is_absolute():
        text = text.replace(str(folder), str(shown_folder(folder)))
    return _FOLDERS.sub("…/", text)


def command_without_places(text: str, folder: Path) -> str:
    """Return the same for a text with commands, whose relative paths begin at the working directory."""
    return _ABOVE.sub("…/", without_places(text, folder))

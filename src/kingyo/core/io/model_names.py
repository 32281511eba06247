"""Names of models: a file or folder, or a name on the Hub, which may name a component and a revision."""

import re
from pathlib import Path

from kingyo.errors import KingyoError

HUB_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(/(?P<component>[A-Za-z0-9][\w.-]*))?")
_REVISION = re.compile(r"[\w./-]+")


def local_path(name: str, folder: Path | None = None) -> Path:
    try:
        place = Path(name).expanduser()
    except RuntimeError:  # ~ of an unknown user
        place = Path(name)
    return (folder or Path.cwd()) / place


def is_local(name: str, folder: Path | None = None) -> bool:
    try:
        return local_path(name, folder).exists()
    except (OSError, ValueError):  # too long, a NUL
        return False


def absolute_name(name: str, folder: Path) -> str:
    return str(local_path(name, folder).resolve()) if is_local(name, folder) else name


def split_revision(text: str, folder: Path | None = None) -> tuple[str, str | None]:
    """Split a Hub name, or a local name that is followed by a revision, at the first ``@``.

    A name that exists with its ``@`` is not split.

    Raises:
        KingyoError: what follows the ``@`` is no revision.
    """
    name, sign, revision = text.partition("@")
    is_name = HUB_NAME.fullmatch(name) is not None or is_local(name, folder)
    if not sign or is_local(text, folder) or not is_name:
        return text, None
    if not _REVISION.fullmatch(revision):
        remedy = "Write it as org/name@revision, or remove the '@'."
        raise KingyoError(text, "a branch, tag or commit after the '@'", f"'{revision}'", remedy)
    return name, revision

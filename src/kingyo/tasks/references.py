"""Read folders of reference pictures, for graders of style and palette and for set measures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.io.units import counted
from kingyo.tasks.media import image_file
from kingyo.types import Media
from kingyo.user_code.deciding_files import deciding_files
from kingyo.vision.features import FeatureNet, Vectors
from kingyo.vision.images import require_8_bits

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
Stamped = tuple[Path, int, int]
"""A file with its time of modification and its size."""


def read_references(folder: str, argument: str, fewest: int = 1) -> tuple[Media, ...]:
    """Return the images in a folder and in those below it, by name; see ``deciding_files``.

    Args:
        folder: its path.
        argument: the option that names it, for errors.
        fewest: smallest number of images.

    Raises:
        KingyoError: no such folder, too few images, or one that cannot be decoded.
    """
    root = Path(folder)
    files = (
        [each for each in deciding_files(root) if each.suffix.lower() in SUFFIXES] if root.is_dir() else []
    )
    if len(files) < fewest:
        found = counted(len(files), "image") if root.is_dir() else "no such folder"
        raise KingyoError(
            argument,
            expected=f"a folder with at least {counted(fewest, 'image')}",
            received=f"{found}: {folder}",
            remedy=f"Correct the path, or add images ({', '.join(sorted(SUFFIXES))}).",
        )
    stats = [(path, path.stat()) for path in files]
    return _read(tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats))


@lru_cache(maxsize=8)
def _read(files: tuple[Stamped, ...]) -> tuple[Media, ...]:
    return tuple(_reference(path) for path, _, _ in files)


def _reference(path: Path) -> Media:
    """Return the image in a file that networks can read."""
    media = image_file(path)
    try:
        require_8_bits(media)
    except ValueError as error:
        raise KingyoError(
            str(path),
            expected="an image with 8 bits per channel",
            received=str(error),
            remedy="Convert this image, or leave it out.",
        ) from error
    return media


@lru_cache(maxsize=8)
def reference_vectors(net: FeatureNet, pictures: tuple[Media, ...]) -> Vectors:
    """Return the vectors of reference pictures; equal pictures are computed once per process."""
    return net.vectors(pictures)

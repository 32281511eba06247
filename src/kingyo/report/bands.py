"""Where layers stand in a picture of paths: a band for each source, in it a row per layer, the last on top.

Above the rows of a band there is room for its name. The model that gives embeddings and head has two more
rows, so that a path begins and ends where the tokens do. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.results.paths import NamedPath

GAP = 0.5  # rows between bands
EVERY = (1, 2, 4, 8, 16, 32)  # layers between two numbers beside a picture


@dataclass(frozen=True, kw_only=True)
class Band:
    """The rows of one source. All places are counted in rows from the lower edge of the picture.

    Attributes:
        source: its name.
        index: which of the sources it is.
        layers: how many it has.
        low, high: its edges.
        zero: the lower edge of the row of its first layer.
        embeddings, head: whether it has these rows.
    """

    source: str
    index: int
    layers: int
    low: float
    high: float
    zero: float
    embeddings: bool
    head: bool

    @property
    def top(self) -> float:
        """The upper edge of its rows, where the room for its name begins."""
        return self.zero + self.layers + self.head

    def row(self, layer: int) -> float:
        """Return the middle of a layer's row."""
        return self.zero + layer + 0.5

    def ticks(self, room: float) -> list[int]:
        """Return the layers whose numbers stand beside the picture, if one needs so many rows."""
        step = next((each for each in EVERY if each >= room), EVERY[-1])
        return list(range(0, self.layers, step))


@dataclass(frozen=True, kw_only=True)
class Bands:
    """All bands, the first source on top.

    Attributes:
        bands: by the name of the source.
        height: of all, in rows.
    """

    bands: Mapping[str, Band]
    height: float

    def labels(self, room: float) -> dict[float, str]:
        """Return what stands beside rows, by their middles, if each text needs so many rows."""
        found = {band.row(each): str(each) for band in self.bands.values() for each in band.ticks(room)}
        ends = ((self.begin, "embeddings"), (self.end, "norm, head"))
        return found | {place: text for place, text in ends if place is not None}

    @property
    def begin(self) -> float | None:
        """Where a path begins: the row of the embeddings."""
        return next((band.zero - 0.5 for band in self.bands.values() if band.embeddings), None)

    @property
    def end(self) -> float | None:
        """Where a path ends: the row of the head."""
        return next((band.top - 0.5 for band in self.bands.values() if band.head), None)


def stack(layers: Mapping[str, int], title: float, path: NamedPath | None = None) -> Bands:
    """Stack the bands.

    Args:
        layers: name of a source -> how many layers it has.
        title: room for a name, in rows.
        path: whose embeddings and head get rows; none do where None.
    """
    ends = (None, None) if path is None else (path.embeddings, path.head)
    found: dict[str, Band] = {}
    low = 0.0
    for index, (source, n) in reversed(list(enumerate(layers.items()))):
        embeddings, head = (source == end for end in ends)
        zero = low + embeddings
        high = zero + n + head + title
        found[source] = Band(
            source=source,
            index=index,
            layers=n,
            low=low,
            high=high,
            zero=zero,
            embeddings=embeddings,
            head=head,
        )
        low = high + GAP
    return Bands(bands=dict(reversed(found.items())), height=low - GAP)

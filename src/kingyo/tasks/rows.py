"""Read the rows of a file or dataset, their cells and images; each row knows its line, for errors."""

import csv
import io
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field

from kingyo.core.io.extras import library
from kingyo.core.io.yaml import distinct
from kingyo.core.types import MEDIA, Item, Media
from kingyo.errors import KingyoError, suggest

Rows = Iterable[Mapping[str, object]]


class DatasetSource(BaseModel):
    """A dataset on the Hub or in a folder, read with the library ``datasets``.

    Attributes:
        dataset: name on the Hub, or a folder.
        subset: configuration of the data set, such as ``main``.
        split: its split to read; kingyo splits the rows again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(min_length=1)]
    subset: str | None = None
    split: Annotated[str, Field(min_length=1)] = "train"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a task's data."""

    where: str  # its place, such as ``items.jsonl line 7``
    columns: Mapping[str, object]
    folder: Path = Path()  # base of relative paths in its cells
    unfolded: str = ""  # the place of the row that it is one question of, or empty

    def texts(self) -> dict[str, str]:
        return {name: stringify(each) for name, each in self.columns.items() if not holds_bytes(each)}

    def cell(self, column: str, key: str) -> object:
        """Return the cell of a column, or the value at ``column.name`` in a cell that is a mapping."""
        value = value_at(self.columns, column)
        if value is None:
            is_null = column in names_in(self.columns)
            received = "null" if is_null else "no such field"
            remedy = "Fill it in, or delete this row." if is_null else suggest(column, names_in(self.columns))
            raise KingyoError(f"{self.where}: {key}", f"a field '{column}' in the row", received, remedy)
        return value


def unfold(row: Row, column: str) -> Iterator[Row]:
    """Yield a row for each question in a column with a list of mappings, whose keys become columns."""
    cell = parse_list(row.cell(column, "questions"))
    questions = cast("Sequence[object]", cell) if isinstance(cell, list | tuple) else [cell]
    others = {name: each for name, each in row.columns.items() if name != column}
    for number, question in enumerate(questions, start=1):
        where = f"{row.where}, {column} {number}"
        if not isinstance(question, Mapping):
            remedy = f"Write {column} as a list of mappings, or remove `questions`."
            raise KingyoError(where, "a mapping, such as {question, answer}", repr(question)[:80], remedy)
        columns = {**others, **cast("Mapping[str, object]", question)}
        yield Row(where=where, columns=columns, folder=row.folder, unfolded=row.where)


def read_rows(source: str | DatasetSource, folder: Path) -> Iterator[Row]:
    if isinstance(source, DatasetSource):
        yield from _dataset(source, folder)
        return
    path = folder / source
    readers = {".jsonl": _jsonl, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise KingyoError("data", "a .jsonl or .csv file", f"'{source}'", suggest(path.suffix, readers))
    yield from reader(_read(path), path)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "Correct the path of the data, or make the file readable."
        raise KingyoError("data", "a file", f"{path}: {error.strerror}", remedy) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        received = f"byte 0x{content[error.start]:02x}"
        raise KingyoError(f"{path.name} line {line}", "UTF-8", received, "Save the file as UTF-8.") from error


def _jsonl(text: str, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            columns: object = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=distinct)
            if not isinstance(columns, dict):
                raise ValueError(type(columns).__name__)
        except (ValueError, RecursionError) as error:
            remedy = f'Write line {number} as {{"key": value, ...}}, or delete it.'
            raise KingyoError(where, "one JSON object", str(error), remedy) from error
        yield Row(where=where, columns=cast("dict[str, object]", columns), folder=path.parent)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name}, which is not valid JSON")


def _csv(text: str, path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    filled = (cells for cells in reader if any(map(str.strip, cells)))
    try:
        names = [name.strip() for name in next(filled, list[str]())]
        if "" in names or len(set(names)) < len(names):
            expected = "distinct column names"
            remedy = "Give every column a different name in the first line."
            raise KingyoError(f"{path.name} line {reader.line_num}", expected, f"{names}", remedy)
        for cells in filled:
            where = f"{path.name} line {reader.line_num}"
            if len(cells) != len(names):
                remedy = "Quote cells that contain a comma, or add the missing cells."
                raise KingyoError(where, f"{len(names)} cells, as in the header", f"{len(cells)}", remedy)
            yield Row(where=where, columns=dict(zip(names, cells, strict=True)), folder=path.parent)
    except csv.Error as error:
        expected = "a row of CSV"
        remedy = "Close every quoted cell, and double the quotes inside it."
        raise KingyoError(f"{path.name} line {reader.line_num}", expected, str(error), remedy) from error


def _dataset(source: DatasetSource, folder: Path) -> Iterator[Row]:
    datasets = library("data.dataset", "datasets")
    local = folder / source.dataset
    is_local, number = local.exists(), 0
    base = local if is_local else Path(str(datasets.config.HF_CACHE_HOME))
    try:
        load = cast("Callable[..., Rows]", datasets.load_dataset)
        rows = load(str(local) if is_local else source.dataset, source.subset, split=source.split)
        for columns in _with_files(rows, datasets):
            number += 1
            yield Row(where=f"{source.dataset} row {number}", columns=columns, folder=base)
    except Exception as error:  # the library raises many types
        first = str(error).strip().split("\n", 1)[0]
        where = f"{source.dataset} row {number + 1}" if number else f"data: {source.dataset}"
        expected = f"a dataset with the split '{source.split}' that the library `datasets` can read"
        received = f"{type(error).__name__}: {first}"[:200]
        remedy = "Correct dataset, subset or split under data:, or download the dataset first."
        raise KingyoError(where, expected, received, remedy) from error


def _with_files(rows: Rows, library: ModuleType) -> Rows:
    features = cast("Mapping[str, Any]", getattr(rows, "features", None) or {})
    dataset, files = cast(Any, rows), library.Image(decode=False)
    for name, feature in features.items():
        if isinstance(feature, library.Image):
            dataset = dataset.cast_column(name, files)
        elif isinstance(getattr(feature, "feature", None), library.Image):  # several images per cell
            dataset = dataset.cast_column(name, type(feature)(files))
    return dataset


def stringify(value: object) -> str:
    """Return a cell as text: 3.0 is "3", true is "true", null is empty, lists and mappings are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value or 0.0)), "f").removesuffix(".0")  # no negative zero
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def holds_bytes(value: object) -> bool:
    """Return whether a cell holds an image as bytes, as in the library ``datasets``."""
    if isinstance(value, str | int | float | None):
        return False
    if isinstance(value, Mapping):
        return set(cast("Mapping[str, object]", value)) == {"bytes", "path"}
    if isinstance(value, list | tuple):
        return any(map(holds_bytes, cast("Sequence[object]", value)))
    return isinstance(value, bytes | bytearray)


def parse_list(cell: object) -> object:
    """Return a cell, with a JSON list (as in CSV files and exported tasks) parsed."""
    if isinstance(cell, str) and cell.startswith("["):
        with suppress(ValueError, RecursionError):
            return cast(object, json.loads(cell))
    return cell


def value_at(columns: Mapping[str, object], name: str) -> object:
    """Return the cell of a column, or the value at ``column.key`` in a mapping; None without one."""
    outer, dot, key = name.partition(".")
    inside = columns.get(outer)
    if name in columns or not dot or not isinstance(inside, Mapping):
        return columns.get(name)
    return cast("Mapping[str, object]", inside).get(key)


def names_in(columns: Mapping[str, object]) -> list[str]:
    """Return the names that ``value_at`` knows: the columns, and ``column.key`` for those in mappings."""
    mappings = {
        name: cast("Mapping[str, object]", cell)
        for name, cell in columns.items()
        if isinstance(cell, Mapping) and not holds_bytes(cast(object, cell))
    }
    return [*columns, *(f"{name}.{key}" for name, mapping in mappings.items() for key in mapping)]


FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Accepted image formats. Pillow reads more, some by running external programs."""
MAX_PIXELS = 64_000_000


def with_images(item: Item, row: Row, columns: str | Sequence[str]) -> Item:
    """Return the item with the images of its row; its fields hold the files' paths in the run folder.

    A cell holds a path relative to the data file, the bytes of a file, or a list of these.
    """
    media: list[Media] = []
    names: dict[str, str] = {}
    for column in [columns] if isinstance(columns, str) else columns:
        where, cell = f"{row.where}: {column}", parse_list(row.cell(column, "images"))
        is_several = isinstance(cell, list | tuple)
        cells = cast("Sequence[object]", cell) if is_several else [cell]
        own = [_in_cell(each, row.folder, where) for each in cells]
        if not own:
            raise _unread_error(where, "nothing")
        files = [f"{MEDIA}/{each.name}" for each in own]
        names[column] = json.dumps(files) if is_several else files[0]
        media += own
    return replace(item, media=tuple(media), fields={**item.fields, **names})


def image_file(path: Path, where: str | None = None, relative: str = "") -> Media:
    """Return the image in a file; ``where`` and ``relative`` word its errors."""
    where = where or str(path)
    try:
        content = path.read_bytes() if path.is_file() else None
        reason = "a folder" if path.is_dir() else "no file"
    except OSError as error:
        content, reason = None, str(error.strerror)
    if content is None:
        remedy = f"Correct the path{relative}, or provide a readable image."
        raise KingyoError(where, "an image file", f"{reason}: {str(path)[-120:]}", remedy)
    return Media(sha256=sha256(content).hexdigest(), type=_image_type(content, where), path=path)


def _in_cell(cell: object, folder: Path, where: str) -> Media:
    may_be_absolute = isinstance(cell, Mapping)  # from the library datasets
    if isinstance(cell, Mapping):
        stored = cast("Mapping[str, object]", cell)
        cell = stored.get("path") if stored.get("bytes") is None else stored["bytes"]
    if isinstance(cell, bytes | bytearray):
        content = bytes(cell)
        kind = _image_type(content, where)
        return Media(sha256=sha256(content).hexdigest(), type=kind, content=content)
    if not isinstance(cell, str) or not cell:
        raise _unread_error(where, repr(cell)[:80])
    root = folder.resolve()
    try:
        path = (root / cell.replace("\0", "")).resolve()
    except ValueError as error:  # half a character
        raise _unread_error(where, repr(cell)[:80]) from error
    if not path.is_relative_to(root) or (Path(cell).is_absolute() and not may_be_absolute):
        remedy = f"Put the image below {root}, and give its path relative to that folder."
        raise KingyoError(where, "a relative path inside the folder of the data", cell[:80], remedy)
    return image_file(path, where, "" if may_be_absolute else f", which is relative to {root}")


def _unread_error(where: str, received: str) -> KingyoError:
    expected = "an image: a path, bytes, or a list of these"
    return KingyoError(where, expected, received, "Provide an image, or delete this row.")


def _image_type(content: bytes, where: str) -> str:
    library(where, "PIL")
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked below
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width:,} x {image.height:,} pixels")
                image.load()
                return Image.MIME[str(image.format)]
    except Exception as error:  # Pillow raises many types
        reason = "of another format" if isinstance(error, UnidentifiedImageError) else error
        expected = f"an image file ({', '.join(FORMATS)}) of at most {MAX_PIXELS // 10**6} megapixels"
        received = f"a file of {len(content):,} bytes that cannot be decoded: {reason}"
        raise KingyoError(where, expected, received, "Replace this image, or leave it out.") from error

"""Read YAML and JSON strictly: no duplicate keys, no aliases that expand without limit."""

import json
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import cast

import yaml

from kingyo.errors import KingyoError

_MAX_BYTES = 10_000_000  # bytes of a file
_READ_ERRORS: dict[type[OSError], str] = {FileNotFoundError: "no such file", IsADirectoryError: "a folder"}
_MAX_VALUES = 1_000_000  # values in a document; nested aliases can expand a short document without limit


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that refuses duplicate keys; PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Refuse duplicate keys; a key may override one that `<<` merges in."""
        seen: set[tuple[str, object]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key '{key.value}' is given twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, object]:
    """Read a YAML file that holds a mapping."""
    documents = _load(path)
    if len(documents) > 1:
        remedy = "Keep one, and delete the `---` lines between them."
        raise KingyoError(str(path), "one document", f"{len(documents)} documents", remedy)
    return _mapping(documents[0] if documents else None, str(path))


def read_yaml_documents(path: Path) -> list[dict[str, object]]:
    """Read a YAML file with one or more mappings, separated by ``---``; empty documents are skipped."""
    documents = [document for document in _load(path) if document is not None]
    if len(documents) < 2:
        return [_mapping(documents[0] if documents else None, str(path))]
    return [_mapping(document, f"{path}: document {i + 1}") for i, document in enumerate(documents)]


def _load(path: Path) -> list[object]:
    try:
        loader = _Loader(_read_text(path))
        documents: list[object] = []
        while loader.check_node():
            node = cast(yaml.Node, loader.get_node())
            _expanded_size(node, {}, set())
            documents.append(cast(object, loader.construct_document(node)))  # pyright: ignore[reportUnknownMemberType]
    except OSError as error:
        received = _READ_ERRORS.get(type(error), error.strerror or str(error))
        remedy = "Name a file that exists and that you can read."
        raise KingyoError(str(path), "a YAML file", received, remedy) from error
    except KingyoError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such date, bytes, digits
        problem = " ".join(str(error).split()).replace("<unicode string>", path.name)
        remedy = "Correct that place or the line before it; text with special characters needs quotes."
        raise KingyoError(str(path), "valid YAML in UTF-8", problem, remedy) from error
    return documents


def _read_text(path: Path) -> str:
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        expected = f"a YAML file of at most {_MAX_BYTES / 1e6:.0f} MB"
        raise KingyoError(str(path), expected, "a larger one", "Check that this is the recipe or run file.")
    return content.decode("utf-8")


def _expanded_size(node: yaml.Node, known: dict[yaml.Node, int], above: set[yaml.Node]) -> int:
    """Return the number of values below a node with all aliases expanded.

    Raises:
        YAMLError: there are too many, or an alias contains itself.
    """
    if node in known:
        return known[node]
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [each for pair in cast("list[tuple[yaml.Node, yaml.Node]]", node.value) for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = cast("list[yaml.Node]", node.value)
    if node in above:
        raise yaml.YAMLError("an alias that contains itself")
    above.add(node)
    known[node] = 1 + sum(_expanded_size(each, known, above) for each in inner)
    above.remove(node)
    if known[node] > _MAX_VALUES:
        raise yaml.YAMLError(f"aliases that expand to more than {_MAX_VALUES:,} values")
    return known[node]


def _mapping(loaded: object, where: str) -> dict[str, object]:
    if not isinstance(loaded, dict):
        received = "an empty file" if loaded is None else type(loaded).__name__
        remedy = "Write the file as lines of `key: value`."
        raise KingyoError(where, "a mapping of keys to values", received, remedy)
    return cast(dict[str, object], loaded)


def parse_json(text: str | bytes) -> object:
    """Parse JSON.

    Raises:
        ValueError: it is invalid, or an object has a key twice.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=distinct)


def read_json(file: Path, parse: Callable[[str], object] = json.loads) -> dict[str, object]:
    """Read a JSON file that holds an object. By default the last value of a repeated key counts."""
    try:
        parsed = parse(file.read_text(encoding="utf-8"))
        if not isinstance(parsed, dict):
            raise TypeError(f"a {type(parsed).__name__}")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        received = f"{type(error).__name__}: {error}"
        remedy = "Correct the file, or fetch the model again."
        raise KingyoError(str(file), "a JSON object", received, remedy) from error
    return cast("dict[str, object]", parsed)


def distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of some pairs, for ``object_pairs_hook``.

    Raises:
        ValueError: a key occurs twice.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.200} twice")
    return members

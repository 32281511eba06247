"""The peer's process, ours, and small models that both merge."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.peer import MERGEKIT, Ours, Peer, find_python
from tests.oracle.world import World, make_world


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """mergekit; tests skip where it is not installed."""
    python = find_python()
    if python is None:
        pytest.skip(MERGEKIT.absent)
    with Peer(python, tmp_path_factory.mktemp("peer")) as process:
        yield process


@pytest.fixture
def ours(tmp_path: Path) -> Ours:
    return Ours(tmp_path)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("float32"), "float32")


@pytest.fixture(scope="session")
def half_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("bfloat16"), "bfloat16")

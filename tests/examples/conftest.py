"""Scripts of the zoos, which import each other by name."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture
def scripts(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, ModuleType]]:
    """The scripts that a module names, imported for one test from its zoo."""
    zoo, loaded = request.module.ZOO, set(sys.modules)
    monkeypatch.syspath_prepend(str(zoo))
    yield {name: importlib.import_module(name) for name in request.module.SCRIPTS}
    for name in set(sys.modules) - loaded:
        if (zoo / f"{name}.py").is_file():
            del sys.modules[name]

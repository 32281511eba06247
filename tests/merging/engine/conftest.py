"""Two Llamas of four layers and a deeper one of six, as open sources; small enough to plan by the hundred."""

from pathlib import Path

import pytest

from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Sources
from tests.models_on_disk import fine_tuned, llama

LAYERS = 4
DEEP = 6


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``base``, ``ja``, ``en`` (of the base) and ``deep``."""
    root = tmp_path_factory.mktemp("slices")
    base = llama(root / "base", layers=LAYERS, hidden=8)
    fine_tuned(base, root / "ja", seed=1)
    fine_tuned(base, root / "en", seed=2)
    llama(root / "deep", layers=DEEP, hidden=8, seed=3)
    return root


@pytest.fixture(scope="session")
def opened(models: Path) -> Sources:
    """All of them."""
    values = {name: open_checkpoint(name, models) for name in ("base", "ja", "en", "deep")}
    return Sources(values, models)

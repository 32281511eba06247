"""A base and two fine-tuned models of it, and recipes of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.models_on_disk import family

Asked = tuple[Path, Path]
"""A recipe file, and the folder to make."""
Ask = Callable[..., Asked]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``base``, ``source-0`` and ``source-1``."""
    folder = tmp_path_factory.mktemp("models")
    family(folder)
    return folder


@pytest.fixture
def write_request(models: Path, tmp_path: Path) -> Ask:
    """Write a recipe of the models, and ask for it; a change to None removes a key."""
    for each in models.iterdir():
        (tmp_path / each.name).symlink_to(each)

    def write(text: str | None = None, **changes: object) -> Asked:
        values: dict[str, object] = {
            "merge_method": "ties",
            "base_model": "base",
            "models": [{"model": "source-0"}, {"model": "source-1"}],
            "parameters": {"weight": 0.5, "density": 0.5},
        }
        values = {key: value for key, value in {**values, **changes}.items() if value is not None}
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(values) if text is None else text)
        return file, tmp_path / "out"

    return write

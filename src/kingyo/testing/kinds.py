"""Contract tests for kinds of models: subclass them in pytest and implement ``make``.

class TestMine(ModelKindContract):
    def make(self):
        return MY_KIND

    def make_checkpoint(self, folder):
        save_file(my_tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(my_config)

    def ask(self, model):
        return model.classify([my_image])
"""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

from kingyo.core.types import Answered, Item, ReportsProgress
from kingyo.errors import KingyoError
from kingyo.models.kinds import BatchMemory, LoadOptions, ModelKind, Options, Workload, load_live, members
from kingyo.testing import raises

LOADED = LoadOptions(dtype="float32", batch_size=2)


class ModelKindContract:
    """Contract of a kind of model. Subclass it and implement the first three methods."""

    def make(self) -> ModelKind:
        raise NotImplementedError("implement make: return the kind under test")

    def make_checkpoint(self, folder: Path) -> Path | None:
        """Write a small model into an empty folder: config.json, safetensors and other files it needs.

        For a component of a pipeline, return the folder of the component.
        """
        raise NotImplementedError("implement make_checkpoint: write a small model")

    def ask(self, model: Any) -> object:
        """Return a live model's answers to a few questions; they are compared by ``==``."""
        raise NotImplementedError("implement ask: return a live model's answers")

    def make_items(self) -> Sequence[Item]:
        """Return items of a task that models of this kind can answer."""
        return [Item(id="item", prompt="1 + 2 = ?", answer="3")]

    def make_options(self) -> Options:
        return {"max_new_tokens": 4}

    def test_its_name_and_libraries_are_declared(self) -> None:
        kind = self.make()
        assert kind.name
        assert not isinstance(kind.libraries, str) and all(kind.libraries), "libraries is a sequence of names"

    def test_it_takes_its_own_checkpoints_and_no_others(self) -> None:
        with self._checkpoint() as folder:
            assert self.make().takes(_config(folder), _index(folder)) is True
        others: Sequence[object] = (None, [], "SomethingElse", ["SomethingElse"])
        for config in ({}, *({"architectures": other} for other in others)):
            assert self.make().takes(config, {}) is False, config

    def test_a_live_model_does_what_the_kind_provides(self) -> None:
        kind = self.make()
        assert kind.provides
        assert all(map(members, kind.provides))
        with self._checkpoint() as folder:
            load_live(kind, folder, LOADED)

    def test_its_weights_are_those_of_the_file(self) -> None:
        with self._checkpoint() as folder:
            live, stored = self.make().load(folder, LOADED), _stored(folder)
        assert live.weights
        assert live.dtype == "float32"
        for name, tensor in live.weights.items():
            assert not tensor.requires_grad, name
            assert torch.equal(tensor.cpu().float(), stored[name].float()), name

    def test_weights_that_are_overwritten_are_those_that_answer(self) -> None:
        with self._checkpoint() as folder:
            live = self.make().load(folder, LOADED)
            first = self.ask(live)
            before = {name: tensor.clone() for name, tensor in live.weights.items()}
            for tensor in live.weights.values():
                tensor.copy_(_noise(tensor))
            assert self.ask(live) != first, "the answers do not depend on the weights"
            for name, tensor in live.weights.items():
                tensor.copy_(before[name])
            assert self.ask(live) == first

    def test_progress_counts_every_answer(self) -> None:
        with self._checkpoint() as folder:
            live, counts = self.make().load(folder, LOADED), list[Answered]()
            first = self.ask(live)
            if isinstance(live, ReportsProgress):
                live.progress = counts.append
                assert self.ask(live) == first
                assert counts and counts[-1].done == counts[-1].timed == counts[-1].total
                assert all(each.timed <= each.done <= each.total for each in counts)

    def test_a_checkpoint_stays_as_it_was(self) -> None:
        with self._checkpoint() as folder:
            before = _files(folder)
            live = self.make().load(folder, LoadOptions())
            for tensor in live.weights.values():
                tensor.copy_(_noise(tensor))
            assert _files(folder) == before

    def test_a_folder_without_weights_is_an_error(self) -> None:
        with self._checkpoint() as folder:
            for file in folder.glob("*.safetensors*"):
                file.unlink()
            assert raises(KingyoError, lambda: self.make().load(folder, LOADED))

    def test_memory_is_known_without_weights(self) -> None:
        with self._checkpoint() as folder:
            for file in folder.glob("*.safetensors*"):
                file.unlink()
            load = Workload(items=self.make_items(), options=[self.make_options()], batch_size=2, n_bytes=4)
            found = self.make().memory(folder, _config(folder), load)
        assert found is None or isinstance(found, BatchMemory)
        if found is not None:
            assert found.bytes is None or found.bytes >= 0
            assert found.what
            json.dumps(dict(found.record))

    def test_the_card_has_code_that_compiles(self) -> None:
        kind = self.make()
        assert kind.card.pipeline_tag and kind.card.auto_class and kind.card.scored and kind.card.library
        code = kind.usage(self.make_items()[0], self.make_options())
        compile(code, "README.md", "exec")

    @contextmanager
    def _checkpoint(self) -> Generator[Path]:
        with TemporaryDirectory() as folder:
            yield self.make_checkpoint(Path(folder)) or Path(folder)


def _config(folder: Path) -> dict[str, object]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _index(folder: Path) -> dict[str, object]:
    file = folder.parent / "model_index.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _stored(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _noise(tensor: torch.Tensor) -> torch.Tensor:
    drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(tensor.dtype).to(tensor.device)

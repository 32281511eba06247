"""Bad input to `kingyo merge`: one clear error, exit code 1, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.cli.conftest import World
from tests.cli.conftest import command as whole_command
from tests.cli.merging import Command, contents
from tests.models_on_disk import llama

MODELS = [{"model": "a", "parameters": {"weight": 0.5}}, {"model": "b", "parameters": {"weight": 0.3}}]


@pytest.fixture
def command(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(world.folder, capsys, monkeypatch)


def everything(folder: Path) -> tuple[dict[str, bytes], set[str]]:
    """Files with what is in them, and folders."""
    folders = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}
    return dict(contents(folder)), {each for each in folders if "__pycache__" not in each}


def refused(command: Command, *arguments: str | Path, says: str) -> str:
    """The command fails with this message, says so in a dry run too, and changes nothing."""
    before = everything(command.folder)
    done = command("merge", *arguments)
    assert done.code == 1, done.out + done.err
    assert "Traceback" not in done.err and done.out == ""
    assert done.err.count("Error:") == 1
    assert says in done.err
    assert everything(command.folder) == before
    return done.err


def foreseen(command: Command, *arguments: str | Path, says: str) -> None:
    """It fails, and a dry run knows that before."""
    refused(command, *arguments, says=says)
    dry = command("merge", *arguments, "--dry-run", "--json")
    assert dry.code == 1
    errors = json.loads(dry.out)["errors"]
    assert len(errors) == 1
    told = "{argument}: expected {expected}; received {received}. {remedy}".format(**errors[0])
    assert says in told.replace("..", ".")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"merge_methd": "linear"}, "'merge_methd'. Did you mean 'merge_method'?"),
        ({"merge_method": "taks_arithmetic"}, "Did you mean 'task_arithmetic'?"),
        ({"merge_method": None}, "merge_method: expected a method's name; received nothing"),
        (
            {"parameters": {"lamda": 1.0}},
            "parameters of task_arithmetic; received 'lamda'. Did you mean 'lambda'?",
        ),
        ({"models": [{"model": "a", "parameters": {"wieght": 1}}]}, "Did you mean 'weight'?"),
        ({"models": [{"modle": "a"}]}, "'modle'. Did you mean 'model'?"),
        ({"models": []}, "models"),
        (
            {"models": [MODELS[0], {"model": "b", "parameters": {"weight": "much"}}]},
            "a number; received 'much'",
        ),
        ({"models": [MODELS[0], {"model": "b"}]}, "weight of b: expected a value"),
        ({"base_model": None}, "base_model: expected a base for task_arithmetic"),
        ({"merge_method": "ties", "parameters": {"density": 1.5}}, "from 0 to 1; received 1.5"),
        (
            {
                "merge_method": "slerp",
                "models": [{"model": each} for each in ("a", "b", "base")],
                "parameters": {"t": 0.5},
            },
            "models: expected 1 for slerp beside the base; received 2",
        ),
        ({"dtype": "flaot16"}, "Did you mean 'float16'?"),
        ({"base_model": "nowhere"}, "nowhere: expected a folder with a checkpoint"),
        ({"base_model": "grade.py"}, "grade.py: expected a folder; received a file"),
        ({"models": [{"model": ""}]}, "model"),
        ({"tokenizer_source": "unoin"}, "unoin"),
        ({"tokenizer": {"sorce": "union"}}, "'sorce'. Did you mean 'source'?"),
        ({"chat_template": "chatml2"}, "chatml2"),
        ({"seed": "one"}, "seed: expected a whole number"),
        ({"slices": [{"sources": [{"model": "a", "layer_range": [0, 2]}]}]}, "exactly one of"),
        ({"parts": {"vision": "base"}}, "'vision'"),
        ({"resize": "grow"}, "resize"),
    ],
    ids=str,
)
def test_recipes(command: Command, changes: dict[str, Any], says: str) -> None:
    foreseen(command, command.recipe(**changes), "merged", says=says)


def test_layers_that_are_not_there(command: Command) -> None:
    slices = [{"sources": [{"model": "a", "layer_range": [0, 9]}]}]
    foreseen(
        command,
        command.recipe(merge_method="passthrough", base_model=None, models=None, slices=slices),
        "merged",
        says="expected layers of [0, 3]",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
        ), "aliases that unfold to more than 1,000,000 values"),
        ("a: &a [*a]", "valid YAML"),
        ("merge_method: linear\nmerge_method: ties", "given twice"),
        ("[" * 5000, "valid YAML"),
        ("- a list", "expected a mapping"),
        ("", "expected a mapping"),
        ("merge_method: !!python/object/apply:os.system ['touch evil']", "valid YAML"),
        ("\x00", "valid YAML"),
    ],
    ids=("bomb", "circle", "twice", "deep", "list", "empty", "code", "binary"),
)  # fmt: skip
def test_files_that_are_no_recipe(command: Command, text: str, says: str) -> None:
    (command.folder / "recipe.yaml").write_text(text)
    foreseen(command, "recipe.yaml", "merged", says=says)


@pytest.mark.parametrize("layers", [[0], [0, 1, 2], [2, 2], [3, 1], ["0", "2"], "0-2", None])
def test_ranges_of_layers_that_are_none(command: Command, layers: object) -> None:
    slices = [{"sources": [{"model": "a", "layer_range": layers}]}]
    recipe = command.recipe(merge_method="passthrough", base_model=None, models=None, slices=slices)
    foreseen(command, recipe, "merged", says="layer_range")


def test_no_such_file(command: Command) -> None:
    foreseen(command, "gone.yaml", "merged", says="gone.yaml: expected a YAML file; received No such file")
    foreseen(command, "base", "merged", says="base: expected a YAML file; received Is a directory")


def edit_header(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def lie(**fields: object) -> Callable[[Path], None]:
    return lambda file: edit_header(file, lambda header: header["lm_head.weight"].update(fields))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "model.safetensors: expected"),
    "empty file": (lambda file: file.write_bytes(b""), "model.safetensors: expected a header"),
    "length of the header": (
        lambda file: file.write_bytes(struct.pack("<Q", 1 << 60) + file.read_bytes()[8:]),
        "model.safetensors: expected a header within the file",
    ),
    "no JSON": (lambda file: file.write_bytes(struct.pack("<Q", 4) + b"{]}}"), "expected a header in JSON"),
    "shape": (lie(shape=[64, 17]), "model.safetensors: expected"),
    "offsets": (lie(data_offsets=[0, 1 << 40]), "model.safetensors: expected"),
    "dtype": (lie(dtype="F13"), "expected a known dtype"),
    "no tensors": (lambda file: save_file({}, file), "received none: the model is empty"),
    "html": (lambda file: file.write_text("<html>not found</html>" * 9), "model.safetensors: expected"),
    "LFS pointer": (
        lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"),
        "model.safetensors: expected",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_weights_that_are_broken(command: Command, kind: str) -> None:
    break_, says = BROKEN[kind]
    break_(command.folder / "b" / "model.safetensors")
    foreseen(command, command.recipe(), "merged", says=says)


@pytest.mark.parametrize(
    "shard", ["../a/model.safetensors", "/etc/passwd", "..\\a.safetensors", "model.bin", 7]
)
def test_shards_outside_of_the_folder(command: Command, shard: object) -> None:
    folder = command.folder / "b"
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    foreseen(command, command.recipe(), "merged", says="expected shards inside the folder")


def test_pickles_are_never_opened(command: Command) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("touch evil",)

    (command.folder / "b" / "model.safetensors").unlink()
    torch.save({"x": Evil()}, command.folder / "b" / "pytorch_model.bin")
    foreseen(command, command.recipe(), "merged", says="received only pickles (pytorch_model.bin)")


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_tensors(command: Command) -> None:
    change_weights(command.folder / "b", lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    says = "'model.layers.1.mlp.up_proj.weight' in base but not in b"
    foreseen(command, command.recipe(), "merged", says=says)


def test_tensors_too_many(command: Command) -> None:
    change_weights(command.folder / "b", lambda weights: weights.update(extra=torch.ones(3)))
    foreseen(command, command.recipe(), "merged", says="'extra' in b but not in base")


def test_shapes_that_differ_are_both_named(command: Command) -> None:
    shutil.rmtree(command.folder / "b")
    llama(command.folder / "b", hidden=32)
    says = "expected one shape in all models: [64, 16] as in base; received [64, 32] in b"
    foreseen(command, command.recipe(), "merged", says=says)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite(command: Command, value: str) -> None:
    name = "model.layers.2.self_attn.k_proj.weight"
    change_weights(command.folder / "b", lambda weights: weights[name].view(-1)[7:8].fill_(float(value)))
    refused(command, command.recipe(), "merged", says=f"b: {name}: expected finite weights")
    refused(command, command.recipe(), "new/merged", "--max-shard-size", "4kB", says="--allow-nonfinite")


def test_results_that_a_dtype_cannot_hold(command: Command) -> None:
    models = [{"model": "a", "parameters": {"weight": 1e8}}]
    refused(command, command.recipe(models=models, dtype="float16"), "merged", says="float16 can hold")


def test_vocabularies_whose_ids_mean_other_tokens(command: Command) -> None:
    """Of equal size, so that nothing else would tell."""
    file = command.folder / "b" / "tokenizer.json"
    data = json.loads(file.read_text())
    vocab = data["model"]["vocab"]
    vocab["7"], vocab["8"] = vocab["8"], vocab["7"]
    file.write_text(json.dumps(data))
    says = "expected one id for each token: 11 for '7' as in base; received 12 in b, and 2 such tokens in all"
    foreseen(command, command.recipe(), "merged", says=says)
    done = command("merge", command.recipe(tokenizer_source="base"), "merged")
    assert done.code == 0, done.err


def test_a_tokenizer_that_is_broken(command: Command) -> None:
    (command.folder / "b" / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    foreseen(command, command.recipe(), "merged", says="tokenizer.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": ' * 5000])
def test_a_config_that_is_broken(command: Command, text: str) -> None:
    (command.folder / "b" / "config.json").write_text(text)
    foreseen(command, command.recipe(), "merged", says="config.json: expected a model's config.json")


def test_a_folder_that_is_not_empty(command: Command) -> None:
    (command.folder / "merged").mkdir()
    (command.folder / "merged" / "thesis.txt").write_text("precious")
    says = "expected a new or empty folder; received one with files"
    foreseen(command, command.recipe(), "merged", says=says)
    says = "expected the folder of a model, which --force may replace; received one without config.json"
    foreseen(command, command.recipe(), "merged", "--force", says=says)


def test_a_target_that_is_a_file(command: Command) -> None:
    foreseen(command, command.recipe(), "grade.py", says="received a file that exists")
    refused(command, command.recipe(), "grade.py/merged", says="expected a folder that can be written")


@pytest.mark.parametrize("out", ["b", "b/merged", ".", "base/deep/down"])
def test_a_target_that_shares_files_with_a_source(command: Command, out: str) -> None:
    says = "expected a folder that is no source, and neither in one nor around one"
    error = refused(command, command.recipe(), out, "--force", says="expected")
    assert says in error


def test_a_link_to_a_source_is_that_source(command: Command) -> None:
    (command.folder / "link").symlink_to("b")
    foreseen(command, command.recipe(), "link", "--force", says="received one that shares files with b")


@pytest.mark.parametrize("size", ["0", "-1GB", "five", "5XB", "0.1", ""])
def test_sizes_of_shards(command: Command, size: str) -> None:
    done = command("merge", command.recipe(), "merged", f"--max-shard-size={size}")
    assert done.code == 1
    assert "--max-shard-size: expected a size in bytes, such as 5GB" in done.err
    assert not (command.folder / "merged").exists()


def test_licences_that_forbid_merges(command: Command) -> None:
    (command.folder / "b" / "README.md").write_text("---\nlicense: cc-by-nd-4.0\n---\n")
    foreseen(
        command, command.recipe(), "merged", says="the licence of b: expected one that allows derivatives"
    )
    done = command("merge", command.recipe(), "merged", "--ignore-licences")
    assert done.code == 0 and "Warning: the licence of b" in done.err


def test_all_mistakes_are_told_at_once(command: Command) -> None:
    truncate(command.folder / "a" / "model.safetensors")
    (command.folder / "merged").mkdir()
    (command.folder / "merged" / "thesis.txt").write_text("precious")
    models = [*MODELS, {"model": "nowhere", "parameters": {"weight": 1, "wieght": 2}}]
    recipe = command.recipe(models=models, parameters={"lamda": 1}, merge_method="ties")
    error = refused(command, recipe, "merged", says="expected a recipe that can be merged")
    for each in (
        "a/model.safetensors: expected",
        "nowhere: expected a folder",
        "'lamda'. Did you mean 'lambda'?",
        "'wieght'. Did you mean 'weight'?",
        "merged: expected a new or empty folder",
    ):
        assert error.count(each) == 1, each
    dry = command("merge", recipe, "merged", "--dry-run", "--json")
    assert dry.code == 1 and len(json.loads(dry.out)["errors"]) == 5


def test_a_book_tells_of_every_recipe(command: Command) -> None:
    documents = [
        {"name": "one", "merge_method": "linear", "models": [{"model": "a", "parameters": {"wegiht": 1}}]},
        {"name": "two", "merge_method": "linear", "models": [{"model": "gone", "parameters": {"weight": 1}}]},
        {
            "merge_method": "slerp",
            "base_model": "one",
            "models": [{"model": "two"}],
            "parameters": {"t": 0.5},
        },
    ]
    (command.folder / "book.yaml").write_text(yaml.safe_dump_all(documents))
    error = refused(command, "book.yaml", "merged", says="one with 2 mistakes")
    assert "one: a: expected parameters of linear; received 'wegiht'" in error
    assert "gone: expected a folder with a checkpoint" in error


def in_new_world(folder: Path, setup: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where only it sees what is mounted."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs Linux's mount namespaces")
    script = f'set -e; {setup}; exec "$@"'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *whole_command(*arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "110"},
        capture_output=True,
        text=True,
        check=False,
    )


class TestDisks:
    """Real ones: small file systems in memory, mounted for the command alone."""

    def test_that_are_too_small_are_seen_at_once(self, command: Command) -> None:
        recipe = command.recipe()
        (command.folder / "disk").mkdir()
        for flags in ((), ("--dry-run",)):
            done = in_new_world(
                command.folder, "mount -t tmpfs -o size=20k x disk", "merge", str(recipe), "disk/out", *flags
            )
            assert done.returncode == 1 and "Traceback" not in done.stderr
            assert "expected 0.04 MB of free disk space; received 0.02 MB" in done.stdout + done.stderr

    def test_that_are_full_in_the_end(self, command: Command) -> None:
        """Room for the weights, and not for all that goes with them."""
        recipe = command.recipe()
        (command.folder / "disk").mkdir()
        done = in_new_world(
            command.folder,
            "mount -t tmpfs -o size=44k x disk; trap 'ls -A disk' EXIT",
            "merge", str(recipe), "disk/out",
        )  # fmt: skip
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert (
            "disk/out: expected a folder that can be written; received No space left on device" in done.stderr
        )

    def test_that_cannot_be_written(self, command: Command) -> None:
        recipe = command.recipe()
        (command.folder / "disk").mkdir()
        for flags in ((), ("--dry-run",)):
            done = in_new_world(
                command.folder, "mount -t tmpfs -o ro x disk", "merge", str(recipe), "disk/out", *flags
            )
            assert done.returncode == 1 and "Traceback" not in done.stderr
            assert "disk/out: expected a folder that can be written" in done.stdout + done.stderr

    def test_that_are_the_target_itself(self, command: Command) -> None:
        recipe = command.recipe()
        (command.folder / "disk").mkdir()
        done = in_new_world(command.folder, "mount -t tmpfs -o size=9m x disk", "merge", str(recipe), "disk")
        assert done.returncode == 1
        assert (
            "received a disk that is mounted there. Choose a folder on it, such as disk/model" in done.stderr
        )


def test_a_file_that_may_not_grow(command: Command) -> None:
    """A limit on the size of files stands for all that can go wrong in the middle of a file."""
    recipe = command.recipe()
    before = everything(command.folder)
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 20; exec "$@"', "sh", *whole_command("merge", str(recipe), "out")],
        cwd=command.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "out: expected a folder that can be written; received File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert everything(command.folder) == before

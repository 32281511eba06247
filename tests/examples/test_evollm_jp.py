"""The example of the paper: its run.yaml on models of the real shapes, its README's commands on tiny ones."""

import json
import re
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.examples.runs import ROOT, dry_run, make_small, run, run_readme
from tests.hub import Hub, serve
from tests.models_on_disk import fine_tuned, llama
from tests.published_headers import mistral, n_bytes

EXAMPLE = ROOT / "examples" / "evollm-jp"
BASE, SHISA = "mistralai/Mistral-7B-v0.1", "augmxnt/shisa-gamma-7b-v1"
WIZARD, ABEL = "WizardLMTeam/WizardMath-7B-V1.1", "GAIR/Abel-7B-002"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """The models of the paper, as they are on the Hub, without their weights."""
    root = tmp_path_factory.mktemp("hub")
    mistral(root / BASE)
    mistral(root / SHISA, shards=4)
    mistral(root / WIZARD)
    mistral(root / ABEL, vocabulary=32_032, dtype="F32", shards=3)
    with serve(root) as served:
        yield served


def questions(folder: Path, n_bred: int = 1069, n_tested: int = 250) -> tuple[Path, Path]:
    """As many rows as the data sets have, with their columns."""
    files: list[Path] = []
    for name, n in (("gsm8k", n_bred), ("mgsm", n_tested)):
        rows = [
            {"question": f"りんごが{i}個あります。{name}個は何個ですか?", "answer": "…", "answer_number": i}
            for i in range(n)
        ]
        files.append(folder / f"{name}.jsonl")
        files[-1].write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return files[0], files[1]


def prepared(folder: Path, *more: str, n_bred: int = 1069, n_tested: int = 250) -> Path:
    bred, tested = questions(folder, n_bred, n_tested)
    words = [sys.executable, str(EXAMPLE / "prepare.py"), "--out", "evollm-jp"]
    done = run([*words, "--gsm8k", str(bred), "--mgsm", str(tested), *more], folder, {})
    assert done.returncode == 0, done.stderr
    return folder / "evollm-jp" / "run.yaml"


@pytest.mark.slow
def test_the_run_of_the_paper_fits_together(hub: Hub, tmp_path: Path) -> None:
    config = prepared(tmp_path)
    summary = dry_run(hub, tmp_path, "evolve", config)
    assert summary["items"] == {"fit": 869, "validation": 200, "test": 250, "duplicates": 0, "unused": 0}
    search = summary["search"]
    assert (search["strategy"], search["methods"], search["population"]) == ("cma-es", ["dare_ties"], 9)
    genes = {gene["name"]: (gene["low"], gene["high"], gene["start"]) for gene in search["genes"]}
    assert set(genes) == {
        f"{kind}/{name}/all" for kind in ("weight", "density") for name in summary["sources"]
    }
    assert set(genes.values()) == {(0, 1, 0.5)}
    assert search["settings"]["x0"] == 0.5 and search["settings"]["sigma"] == pytest.approx(1 / 6)
    on_fit = [part["answers"] for part in summary["answers"]["parts"] if part["split"] == "fit"]
    assert sum(on_fit) == 1000 * 869 + 5 * 869
    assert summary["memory"]["live_bytes"] == n_bytes()
    assert summary["memory"]["to_download_bytes"][f"{ABEL}@refs/pr/2"] > n_bytes(32_032, 4)
    recipe = summary["first_recipe"]
    assert recipe["merge_method"] == "dare_ties" and recipe["resize"] == "truncate"
    assert not list(tmp_path.glob("runs")) and not list((tmp_path / "evollm-jp").glob("run"))
    assert hub.n_sent(".safetensors") < 3_000_000


@pytest.mark.slow
def test_without_resize_the_vocabularies_do_not_fit(hub: Hub, tmp_path: Path) -> None:
    config = prepared(tmp_path)
    config.write_text(re.sub(r"^  resize: .*\n", "", config.read_text(), flags=re.MULTILINE))
    error = dry_run(hub, tmp_path, "evolve", config)["error"]
    assert "[32032, 4096]" in error["received"] and "resize" in error["remedy"]


@pytest.fixture(scope="module")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """Tiny models under the names of the paper's."""
    root = tmp_path_factory.mktemp("small-hub")
    base = llama(root / BASE)
    for seed, name in enumerate((SHISA, WIZARD, ABEL), start=1):
        fine_tuned(base, root / name, seed=seed)
    with serve(root) as served:
        yield served


@pytest.mark.slow
def test_commands_of_the_readme_run_in_order(small_hub: Hub, tmp_path: Path) -> None:
    def python() -> None:
        config = prepared(tmp_path, "--validation", "4", n_bred=12, n_tested=4)
        make_small(config, "{question} Q: 1 + 2 = A:")

    run_readme("evollm-jp", small_hub, tmp_path, python=python)
    assert (tmp_path / "evollm-jp" / "model" / "model.safetensors").is_file()

"""Sources of the zoo are chosen by trial merges; a choice can be read again, killed and continued."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kingyo.errors import KingyoError
from kingyo.evolution import MAIN
from kingyo.run.begin import begin
from kingyo.run.config_file import config_from_data, load_config
from kingyo.run.resume import journey_of
from kingyo.run.run import Run
from kingyo.scout import suggestion
from kingyo.scout.choice import (
    ChoiceLimits,
    ChosenSources,
    WeightEvidence,
    choose,
    config_for,
    names_of,
    trials_in,
)
from kingyo.scout.paths import relative_to
from kingyo.scout.suggestion import decided, doubts_text, drawn, next_gain, trimmed_text, write_run_yaml
from kingyo.store import RunStore
from kingyo.strategies.gain_model import Gain
from tests.cli.merging import write_lora
from tests.scout.chosen import (
    FIT,
    NAMES,
    ROOT,
    ZOO,
    Counter,
    candidates_of,
    choose_from_zoo,
    open_run,
    write_task,
    zoo_group,
)

TINY = {"splits": {"fit": 8, "validation": 8, "test": 8}, "max_new_tokens": 1}
USEFUL = {"ja", "math-en", "math-sym"}


@dataclass(frozen=True, kw_only=True)
class Scouted:
    """A finished choice in a folder."""

    task: Path
    out: Path
    choice: ChosenSources

    @property
    def text(self) -> str:
        return (self.out / "run.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scouted(tmp_path_factory: pytest.TempPathFactory) -> Scouted:
    folder = tmp_path_factory.mktemp("scouted")
    task = write_task(folder)
    return Scouted(task=task, out=folder / "out", choice=choose_from_zoo(task, folder / "out"))


def copied(scouted: Scouted, folder: Path) -> Path:
    """Return a copy of the folder of a choice."""
    return shutil.copytree(scouted.out, folder / "out")


def test_it_chooses_the_useful_models(scouted: Scouted) -> None:
    choice = scouted.choice
    assert choice.sources == NAMES and set(choice.chosen) == USEFUL
    assert [step.added is None for step in choice.steps] == [False, False, False, True]
    assert set(choice.contributions) == USEFUL
    assert all(gain.interval.low > 0 for gain in choice.contributions.values())
    assert choice.score is not None and choice.score.score > 0.9
    assert set(choice.alone) == set(NAMES) and choice.alone["ja"].score > 0
    assert choice.verdict == "enough" and choice.failed == {}


def test_it_costs_less_than_all_subsets(scouted: Scouted) -> None:
    assert 0 < scouted.choice.item_evaluations < 0.6 * 2**5 * FIT
    with RunStore.read(trials_in(scouted.out)) as store:
        assert store.item_evaluations() == scouted.choice.item_evaluations
        assert store.copied_from_elsewhere() == 0


def test_a_second_call_scores_nothing_and_says_the_same(scouted: Scouted, tmp_path: Path) -> None:
    out, counter = copied(scouted, tmp_path), Counter()
    again = choose(open_run(scouted.task), trials_in(out), ChoiceLimits(), WeightEvidence(), counter)
    assert counter.answers == 0
    assert again == scouted.choice
    assert again.to_json() == scouted.choice.to_json()
    with RunStore.read(trials_in(out)) as store:
        assert store.item_evaluations() == scouted.choice.item_evaluations


@pytest.mark.parametrize("other", ["task", "items", "candidates", "seed", "limits"])
def test_another_choice_in_the_folder_is_an_error(scouted: Scouted, tmp_path: Path, other: str) -> None:
    out = copied(scouted, tmp_path)
    tasks = {
        "task": {"max_new_tokens": 23},
        "items": {"splits": {"fit": FIT + 2, "validation": 16, "test": 16}},
    }
    task = write_task(tmp_path, **tasks.get(other, {}))
    names = NAMES[:4] if other == "candidates" else NAMES
    run = open_run(task, names, seed=int(other == "seed"))
    limits = ChoiceLimits(min_gain=0.2) if other == "limits" else ChoiceLimits()
    with pytest.raises(KingyoError) as raised:
        choose(run, trials_in(out), limits, WeightEvidence(), Counter())
    assert raised.value.argument == str(trials_in(out))
    again = choose(open_run(scouted.task), trials_in(out), ChoiceLimits(), WeightEvidence(), Counter())
    assert again == scouted.choice, "the folder is as before"


@pytest.mark.parametrize(
    "limits",
    [
        ChoiceLimits(min_gain=-1),
        ChoiceLimits(most=0),
        ChoiceLimits(capacity=-1.0),
        ChoiceLimits(capacity=1.0),
    ],
)
def test_limits_that_make_no_sense(scouted: Scouted, tmp_path: Path, limits: ChoiceLimits) -> None:
    with pytest.raises(KingyoError):
        choose(open_run(scouted.task), tmp_path / "out", limits, WeightEvidence(), Counter())


# ---- run.yaml


def paths_of(file: Path) -> list[Path]:
    """Return all models, data and the scout that a run.yaml names."""
    config, folder = load_config(file), file.parent
    models = [config.base or "", *config.sources.values(), *config.controls.random_sources.values()]
    parts = [part for model in models for part in model.split("+")]
    data = [str(spec.data) for spec in config.specs.values()]
    return [folder / each for each in (*parts, *data, config.scout or "")]


def test_the_run_yaml_can_be_read_from_anywhere(
    scouted: Scouted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = scouted.out / "run.yaml"
    config = load_config(file)
    assert list(config.sources) == list(scouted.choice.chosen)
    assert config.controls.random and config.controls.grid and config.controls.trained
    assert len(config.controls.random_sources) == 3 and set(config.controls.random_sources) <= set(NAMES)
    assert all(path.exists() for path in paths_of(file))
    assert Run.open(config, scouted.out).models.base is not None
    assert {path.resolve() for path in paths_of(file)} >= {ZOO / name for name in USEFUL}


@pytest.mark.parametrize("trimmed", [None, "math-en"])
def test_a_run_begins_with_the_plain_merge(scouted: Scouted, tmp_path: Path, trimmed: str | None) -> None:
    """Its scores are copied, if a trial merge had these weights; a source may lack the first layers."""
    weights = {
        name: (0.0, *row[1:]) if name == trimmed else row for name, row in scouted.choice.weights.items()
    }
    out, choice = copied(scouted, tmp_path), replace(scouted.choice, weights=weights)
    file = write_run_yaml(candidates_of(open_run(scouted.task), out), choice, scouted.task)
    searches = {search.name for search in Run.open(load_config(file), out).all_searches}
    assert searches >= {"random", "grid", "random_sources"}
    values = {**yaml.safe_load(file.read_text(encoding="utf-8")), "controls": {}, "finalists": 1}
    config = config_from_data({**values, "budget": {"candidates": 1}}, out)
    with begin(Run.open(config, out), tmp_path / "run") as run:
        journey_of(run, lambda _: None).run()
        (first,), axes = run.begun.trials(MAIN), run.searches[0].space.axes
        evaluation = run.begun.evaluation(first.id, "fit")
    assert {axis.family for axis in axes} == {f"weight/{name}" for name in USEFUL}
    assert list(first.asked.genome) == [weight for name in config.sources for weight in weights[name]]
    assert evaluation is not None and evaluation.copied_from == (first.id if trimmed is None else None)


@pytest.mark.parametrize(("trimmed", "groups"), [(False, "layers:2"), (True, "layers:4")])
def test_many_sources_have_fewer_spans(
    scouted: Scouted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, *, trimmed: bool
) -> None:
    monkeypatch.setattr(suggestion, "MOST_GENES", 2 * len(USEFUL))
    weights = dict.fromkeys(scouted.choice.chosen, (0.0 if trimmed else 0.7, 0.7, 0.7, 0.7))
    choice = replace(scouted.choice, weights=weights)
    merge = decided(candidates_of(open_run(scouted.task), tmp_path), choice, tmp_path)["merge"]
    start = [0.0, 0.7, 0.7, 0.7] if trimmed else 0.7
    assert isinstance(merge, dict) and merge["groups"] == groups
    assert start in [each["weight"]["start"] for each in started(merge)]


def started(merge: dict[str, Any]) -> list[Any]:
    return [merge["parameters"], *(each["parameters"] for each in merge.get("sources", {}).values())]


def test_relative_paths_are_written_from_the_folder(
    scouted: Scouted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates and task are named relative to the working directory; the folder may be a link."""
    for name in ("base", *NAMES):
        shutil.copytree(ZOO / name, tmp_path / "models" / name)
    write_task(tmp_path)
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path)
    group = replace(zoo_group(), base="models/base")
    group = replace(
        group,
        members=tuple(
            replace(each, reference=f"models/{Path(each.reference).name}") for each in group.members
        ),
    )
    run = Run.open(config_for(group, {"task": {"file": "ja-math.yaml"}}, Path(), 0), Path())
    for out in (Path("runs/one"), Path("link")):
        trials_in(out).mkdir(parents=True, exist_ok=True)
        file = write_run_yaml(candidates_of(run, out, group), scouted.choice, Path("ja-math.yaml"))
        assert str(tmp_path) not in file.read_text(encoding="utf-8")
        monkeypatch.chdir(ROOT)
        found = [path.resolve() for path in paths_of(tmp_path / out / "run.yaml") if path.name != "."]
        assert (tmp_path / "models" / "ja") in found and all(path.exists() for path in found)
        monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["2024", "my scout", "no", "läuft: #1"])
def test_folders_of_any_name(scouted: Scouted, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    candidates = candidates_of(open_run(scouted.task), tmp_path / name)
    file = write_run_yaml(candidates, scouted.choice, scouted.task)
    assert isinstance(load_config(file).name, str)


def test_the_run_folder_is_not_that_of_the_scout(
    scouted: Scouted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("runs/scout")
    out.mkdir(parents=True)
    file = write_run_yaml(candidates_of(open_run(scouted.task), out), scouted.choice, scouted.task)
    assert not (Path("runs") / load_config(file).name).exists()


SURE, UNSURE = Gain.normal(0.2, 0.05, 48), Gain.normal(0.02, 0.03, 288)


@pytest.mark.parametrize(
    ("gains", "text"),
    [
        ([SURE, SURE, SURE], "Each of them helps: the merge is worse without it."),
        ([SURE, UNSURE, SURE], "The merge may do as well without 'b'; each of the other 2 helps."),
        ([UNSURE, SURE, UNSURE], "The merge may do as well without 'a' or 'c'; the other one helps."),
        ([UNSURE] * 3, "The merge may do as well without 'a', 'b' or 'c'."),
        ([], None),
    ],
)
def test_it_says_which_sources_may_not_help(scouted: Scouted, gains: list[Gain], text: str | None) -> None:
    names = ("a", "b", "c")
    choice = replace(scouted.choice, chosen=names, contributions=dict(zip(names, gains, strict=False)))
    assert doubts_text(choice) == text


def test_it_says_how_many_parts_are_left_out(scouted: Scouted) -> None:
    weights = {"a": (0.0, 0.0, 0.7, 0.7), "b": (0.0, 0.7, 0.7, 0.7)}
    text = trimmed_text(replace(scouted.choice, weights=weights))
    assert text is not None and text.startswith("This merge leaves out 3 of 8 parts, which change little")
    assert trimmed_text(replace(scouted.choice, weights={"a": (0.7, 0.7)})) is None


@pytest.mark.parametrize("name", ["1", "no", "null", "1e3", "3.5"])
def test_candidates_of_any_name(scouted: Scouted, tmp_path: Path, name: str) -> None:
    shutil.copytree(ZOO / "ja", tmp_path / name)
    group = zoo_group()
    renamed = tuple(
        replace(each, reference=str(tmp_path / name)) if Path(each.reference).name == "ja" else each
        for each in group.members
    )
    group = replace(group, members=renamed)
    config = config_for(group, {"task": {"file": str(scouted.task)}}, Path(), 0)
    assert next(iter(config.sources)) == name
    choice = replace(
        scouted.choice,
        sources=tuple(config.sources),
        chosen=(name, "math-en"),
        contributions={name: Gain.normal(0.2, 0.1, 9)},
    )
    candidates = candidates_of(Run.open(config, Path()), tmp_path, group)
    file = write_run_yaml(candidates, choice, scouted.task)
    assert list(load_config(file).sources) == [name, "math-en"]


def test_loras(scouted: Scouted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference ``base+lora`` is written with both parts relative."""
    folder = tmp_path / "a+b"
    folder.mkdir()
    shutil.copytree(ZOO / "base", folder / "base")
    write_lora(folder / "lora", "base")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert relative_to("a+b/base+a+b/lora", Path("out")) == "../a+b/base+../a+b/lora"
    assert relative_to("a+b/base", Path("out")) == "../a+b/base"
    assert relative_to("org/name@main+org/lora", Path("out")) == "org/name@main+org/lora"
    assert relative_to(f"{folder / 'base'}+org/lora@v1", Path("out")) == "../a+b/base+org/lora@v1"


def test_a_base_that_fails_is_an_error(scouted: Scouted, tmp_path: Path) -> None:
    """Nothing can be compared with it."""
    (tmp_path / "mine.py").write_text("def grade(answer, item):\n    raise ValueError('no grade')\n")
    task = write_task(tmp_path, grader=[f"{tmp_path / 'mine.py'}:grade"], **TINY)
    with pytest.raises(KingyoError) as raised:
        choose(open_run(task), tmp_path / "out", ChoiceLimits(), WeightEvidence(), Counter())
    assert raised.value.argument == "base" and "no grade" in raised.value.received


def test_without_a_useful_source_nothing_is_chosen(tmp_path: Path) -> None:
    """No answer is right if the grader accepts none."""
    (tmp_path / "mine.py").write_text("def grade(answer, item):\n    return 0.0\n")
    task = write_task(tmp_path, grader=[f"{tmp_path / 'mine.py'}:grade"], **TINY)
    choice = choose_from_zoo(task, tmp_path / "out")
    assert choice.chosen == () and choice.verdict == "enough"
    assert not (tmp_path / "out" / "run.yaml").exists()


@pytest.mark.parametrize("name", ["L" * 200, "two\nlines"])
def test_reasons_are_behind_their_sources(scouted: Scouted, tmp_path: Path, name: str) -> None:
    """A name or path of several lines in YAML has no reasons."""
    group = zoo_group()
    members = tuple(
        replace(each, reference=str(tmp_path / name)) if Path(each.reference).name == "ja" else each
        for each in group.members
    )
    shutil.copytree(ZOO / "ja", tmp_path / name)
    group = replace(group, members=members)
    config = config_for(group, {"task": {"file": str(scouted.task)}}, Path(), 0)
    own = list(config.sources)[NAMES.index("ja")]
    gains = {source: Gain.normal(0.2, 0.1, 9) for source in (own, "math-en")}
    choice = replace(
        scouted.choice, sources=tuple(config.sources), chosen=(own, "math-en"), contributions=gains
    )
    file = write_run_yaml(candidates_of(Run.open(config, Path()), tmp_path, group), choice, scouted.task)
    assert list(load_config(file).sources) == [own, "math-en"]
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if "in this set" in line]
    assert [line.split(":")[0].strip() for line in lines] == ["math-en"]


def test_a_run_yaml_that_no_scout_wrote_stays(scouted: Scouted, tmp_path: Path) -> None:
    candidates = candidates_of(open_run(scouted.task), tmp_path)
    for make in ((tmp_path / "run.yaml").touch, (tmp_path / "run.yaml").mkdir):
        make()
        with pytest.raises(KingyoError) as raised:
            write_run_yaml(candidates, scouted.choice, scouted.task)
        assert raised.value.argument == str(tmp_path / "run.yaml") and "--out" in str(raised.value)
        if (tmp_path / "run.yaml").is_file():
            (tmp_path / "run.yaml").unlink()


def test_random_sources_are_others(scouted: Scouted) -> None:
    """With all sources chosen there are none."""
    candidates = candidates_of(open_run(scouted.task), scouted.out)
    for seed in range(20):
        run = replace(candidates.run, config=candidates.run.config.model_copy(update={"seed": seed}))
        for chosen in (("ja",), NAMES[:4]):
            names = drawn(replace(candidates, run=run), replace(scouted.choice, chosen=chosen), scouted.out)
            assert len(names) == len(chosen) and set(names) != set(chosen)
    assert drawn(candidates, replace(scouted.choice, chosen=NAMES), scouted.out) == {}


def test_the_best_of_the_others_was_measured_well(scouted: Scouted) -> None:
    gains = {1: Gain.normal(0.5, 0.2, 24), 2: Gain.normal(0.01, 0.01, 96)}
    last = replace(scouted.choice.steps[-1], gains=gains)
    choice = replace(scouted.choice, steps=(*scouted.choice.steps[:-1], last))
    assert next_gain(choice) == (NAMES[2], gains[2])


def test_licences_with_different_terms_are_a_warning(scouted: Scouted, tmp_path: Path) -> None:
    group = zoo_group()
    for licence, n in (("apache-2.0", 0), ("cc-by-nc-4.0", 1)):
        members = tuple(
            replace(each, card=replace(each.card, licences=(licence,)))
            if Path(each.reference).name == "math-en"
            else each
            for each in group.members
        )
        candidates = candidates_of(open_run(scouted.task), tmp_path, replace(group, members=members))
        warnings = candidates.licence_warnings(scouted.choice)
        assert len(warnings) == n and all("cc-by-nc-4.0 of math-en" in str(each) for each in warnings)


def test_names_are_unique_and_allowed() -> None:
    names = names_of(["a/ja", "b/ja", "c/base", "base+loras/ja", "org/mö del@main", "x/uniform"])
    assert list(names) == ["ja", "ja-2", "base-1", "ja-3", "m-del", "uniform-1"]
    assert list(names.values())[3] == "base+loras/ja"
    assert list(names_of(["a/fast/unet", "org/name/transformer@main", "a/base/unet+a/ink", "unet"])) == [
        "fast",
        "name",
        "ink",
        "unet",
    ]


def test_the_text_says_what_was_measured(scouted: Scouted) -> None:
    text = scouted.text
    assert f"3 of 5 candidates, chosen by trial merges with {scouted.choice.item_evaluations} answers" in text
    for name in USEFUL:
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {name}:")]
        assert "points [" in line and "alone " in line

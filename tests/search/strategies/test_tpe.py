"""TPE by optuna: the contract, what it remembers, what it needs."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from kingyo.core.io.extras import install_command
from kingyo.core.types import Genome, InformedStrategy, Trial
from kingyo.errors import KingyoError
from kingyo.search.strategies import build
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, failed, scored
from tests.search.strategies.problems import EVERY_KIND, floats, sphere, work

# ---- what it finds


def test_it_learns_which_category_is_best() -> None:
    """One in five at random; the weight makes every genome a new one."""
    axes = (EVERY_KIND[3], EVERY_KIND[0])
    log = work(build("tpe", axes, 0, {}), lambda genome: float(genome[0] == 3), 100)
    late = [trial.genome[0] for trial, _ in log[-20:]]
    assert late.count(3.0) >= 12


def test_failures_rank_below_the_lowest_score() -> None:
    """Nine tenths of the space fail, around the optimum too, and where it does not, scores are negative."""

    def score(genome: Genome) -> float | None:
        return None if abs(genome[0] - 0.7) > 0.05 else sphere(genome) - 100

    log = work(build("tpe", floats(3), 0, {}), score, 120)
    late_failures = sum(s is None for _, s in log[-20:])
    assert late_failures < 14, f"{late_failures} of the last 20 trials failed"


def test_a_batch_spreads() -> None:
    """Pending trials are seen: ten of the same knowledge are not ten of the same point."""
    strategy = build("tpe", floats(2), 0, {})
    work(strategy, sphere, 20)
    genomes = [trial.genome for n in (5, 5) for trial in strategy.ask(n)]
    gaps = [
        max(abs(a - b) for a, b in zip(p, q, strict=True)) for p in genomes for q in genomes if p is not q
    ]
    assert min(gaps) > 1e-3


def test_known_points_replace_the_start() -> None:
    """Twelve known points around the optimum: one of the first four asks is already near it."""
    near = [tuple(0.6 + 0.02 * (i * k % 11) for k in (1, 3, 7)) for i in range(12)]
    far = [(0.1 * (i % 10), 0.1, 0.9) for i in range(12)]
    known = [
        scored(Trial(number=-1 - i, genome=genome), sphere(genome)) for i, genome in enumerate(near + far)
    ]
    strategy = build("tpe", floats(3), 0, {})
    assert isinstance(strategy, InformedStrategy)
    strategy.warm_start(known)
    trials = strategy.ask(4)
    assert max(sphere(trial.genome) for trial in trials) > -0.07  # a ball of a twelfth of the space
    assert all(trial.parents == () for trial in trials)


def test_scores_that_strain_the_arithmetic() -> None:
    for value in (0.0, 1e300, -1e300, 1e-300):
        strategy = build("tpe", FLOAT_AXES, 0, {"startup": 2})
        work(strategy, lambda genome, value=value: value * genome[1], 24)
        work(strategy, lambda _, value=value: value, 8)


# ---- what it remembers


def test_a_proposal_uses_only_the_trials_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    sizes: list[int] = []
    ask = optuna.Study.ask

    def counted(study: optuna.Study, distributions: object = None) -> optuna.Trial:
        sizes.append(len(study.get_trials(deepcopy=False)))
        return ask(study, distributions)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(optuna.Study, "ask", counted)
    strategy = build("tpe", floats(2), 0, {"memory": 30})
    for _ in range(12):
        trials = strategy.ask(10)
        strategy.tell([scored(trial, sphere(trial.genome)) for trial in trials[:-3]])
    strategy.ask(100)
    assert 60 < max(sizes) <= 30 + 64 + 32


# ---- what it leaves alone, and what it needs


def test_optunas_log_and_torchs_random_state_are_unchanged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    import optuna
    import torch

    before = (optuna.logging.get_verbosity(), logging.root.level, torch.get_rng_state().tolist())
    filters = list(warnings.filters)
    environment = dict(os.environ)
    work(build("tpe", FLOAT_AXES, 0, {"startup": 3}), lambda _: 0.0, 20)
    assert (optuna.logging.get_verbosity(), logging.root.level, torch.get_rng_state().tolist()) == before
    assert warnings.filters == filters
    assert dict(os.environ) == environment
    assert capfd.readouterr() == ("", "")


def test_without_optuna_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(KingyoError, match="the library optuna") as error:
        build("tpe", MIXED_AXES, 0, {})
    assert install_command("bayes") in error.value.remedy


def test_after_a_failed_start_it_samples_at_random() -> None:
    strategy = build("tpe", MIXED_AXES, 0, {"startup": 3})
    for _ in range(6):
        strategy.tell([failed(trial) for trial in strategy.ask(5)])
    assert len({trial.genome for trial in strategy.ask(20)}) == 20

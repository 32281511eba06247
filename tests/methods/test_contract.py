"""Every built-in method keeps the public contract."""

from __future__ import annotations

from kingyo.methods import METHODS
from kingyo.testing.methods import MergeMethodContract


class TestLinear(MergeMethodContract):
    method = METHODS.get("linear")


class TestTaskArithmetic(MergeMethodContract):
    method = METHODS.get("task_arithmetic")


class TestSlerp(MergeMethodContract):
    method = METHODS.get("slerp")


class TestTies(MergeMethodContract):
    method = METHODS.get("ties")


class TestDareLinear(MergeMethodContract):
    method = METHODS.get("dare_linear")


class TestDareTies(MergeMethodContract):
    method = METHODS.get("dare_ties")


def test_every_method_is_held_to_the_contract() -> None:
    held = {kind.method.name for kind in MergeMethodContract.__subclasses__() if hasattr(kind, "method")}
    assert set(METHODS.names()) <= held

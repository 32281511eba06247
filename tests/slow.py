"""Cases of a test that only `make test-all` tries."""

from typing import Any

import pytest


def slow(*cases: object) -> list[Any]:
    """Return parameters for ``pytest.mark.parametrize`` that are slow."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]

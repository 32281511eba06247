"""Cases of a test that only `make test-all` tries."""

from typing import Any

import pytest


def slow(*cases: object) -> list[Any]:
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]

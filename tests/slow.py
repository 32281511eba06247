"""Cases that only `make test-all` tries."""

from typing import Any

import pytest
from hypothesis import settings

THOROUGH = settings.get_current_profile_name() == "thorough"


def slow(*cases: object) -> list[Any]:
    """A tuple is a case of several arguments."""
    arguments = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*each, marks=pytest.mark.slow) for each in arguments]

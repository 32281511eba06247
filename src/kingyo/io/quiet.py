"""Hide the progress bars and warnings of transformers and diffusers."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal


@contextmanager
def quiet(library: Literal["transformers", "diffusers"]) -> Generator[None]:
    """Hide those of one library and all FutureWarnings, and restore the settings at the end."""
    logging: Any = import_module(f"{library}.utils.logging")
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of diffusers' deprecations
            yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()

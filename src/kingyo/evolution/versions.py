"""What the asks of a strategy depend on besides its log, as one text: code, libraries, space and seed.

A state is restored only into what it came from; anything else replays the log, which tells whether it fits.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

from kingyo import __version__
from kingyo.evolution.words import Search
from kingyo.versions import digest, hash_of, hash_of_code, version_of_library

LIBRARIES = ("numpy", "cmaes", "optuna", "scipy", "torch")  # that strategies of the package compute with
ROOMS = ("strategies", "abilities")


def version_of(search: Search) -> str:
    """Return a hash of all that decides what the strategy of a search asks, but for what it was told."""
    modules = {kind.__module__ for kind in type(search.strategy).__mro__[:-1]}
    files = {getattr(sys.modules.get(module), "__file__", None) for module in modules}
    own = [digest(Path(file)) for file in sorted(filter(None, files))]
    space = [repr(axis) for axis in search.space.axes]
    said = json.dumps(search.description, sort_keys=True, default=repr)
    return hash_of(json.dumps([_installed(), own, space, search.seed, said]))


@cache
def _installed() -> str:
    """The package's own code, and the versions of what it computes with."""
    libraries = [version_of_library(name) for name in LIBRARIES]
    return hash_of(json.dumps([__version__, sys.version, libraries, hash_of_code(ROOMS)]))

"""kingyo breeds new foundation models out of existing ones.

This module carries only the version and loads no torch; import what you need from the submodules.
"""

__version__ = "0.1.0.dev0"

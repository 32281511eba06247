"""Slow first calls of libraries, which the fork server makes once for all commands."""

import numba
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

numba.njit(lambda: 0)()
get_checkpoint_conversion_mapping("llama")

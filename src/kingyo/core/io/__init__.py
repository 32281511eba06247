"""Atomic files, YAML, typed settings, units, and a lazy import of torch."""

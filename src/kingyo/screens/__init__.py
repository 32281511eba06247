"""Screening: which items the candidates of a generation are scored on, and which of them go on to more.

A screen reads the matrix trials × items and says what to score next. It keeps nothing, so that a search which
is resumed gets the same rounds. It knows no strategy, no store and no model.
"""

from kingyo.screens.screen import Round, Rounds, Screen, ScreenSettings, check_settings, estimate_means

__all__ = ["Round", "Rounds", "Screen", "ScreenSettings", "check_settings", "estimate_means"]

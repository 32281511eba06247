"""Screening: choose the items that candidates are scored on, and the candidates that get more items.

A screen computes what to score next from the matrix trials × items only. It has no state, so a resumed search
gets the same rounds.
"""

from kingyo.screens.screen import Round, Rounds, Screen, ScreenSettings, check_settings, estimate_means

__all__ = ["Round", "Rounds", "Screen", "ScreenSettings", "check_settings", "estimate_means"]

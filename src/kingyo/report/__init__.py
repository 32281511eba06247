"""The report of a run: one HTML file that needs no network, and its charts as pictures.

``findings`` reads the store, ``*_charts``, ``tables`` and ``sentences`` say what it found, and ``page`` puts
them into templates. Nothing is evaluated and no model is loaded.
"""

from kingyo.report.page import write_report

__all__ = ["write_report"]

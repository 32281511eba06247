"""The public Python API: functions that take data and report to one ``Progress``; commands call the same.

Names are imported from their modules on first use, see ``kingyo.__init__``.
"""

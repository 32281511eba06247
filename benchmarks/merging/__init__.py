"""The parts of ``benchmarks/merge.py``: models, measured processes and loops, the table."""

"""Domains of `learning.py`."""

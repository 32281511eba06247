"""Disable progress bars of transformers."""

from transformers.utils import logging

logging.disable_progress_bar()

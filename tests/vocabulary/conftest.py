"""No progress bars of transformers among the output of tests."""

from transformers.utils import logging

logging.disable_progress_bar()

"""Runs from a run.yaml: set-up, stages, resume, and the dry run."""

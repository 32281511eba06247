"""Contract tests for authors of plug-ins to subclass."""

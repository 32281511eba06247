"""Contract tests that authors of plug-ins subclass: what every strategy, method or task promises."""

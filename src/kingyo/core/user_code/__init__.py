"""Users' own code: time limits, the files that it depends on, and versions."""

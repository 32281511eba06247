"""Code that users bring: its time limits, the files it depends on, its versions."""

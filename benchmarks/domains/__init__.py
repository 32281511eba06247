"""A suite of domains that answer at once: made-up worlds, small networks, and recorded tables of real models."""

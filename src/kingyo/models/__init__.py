"""Live models: built once from a checkpoint; their weights are then overwritten in place."""

"""Live models: built once from a checkpoint, then re-filled in place."""

"""A run, from its run.yaml to the objects that it is made of: models, items, spaces, searches, workers."""

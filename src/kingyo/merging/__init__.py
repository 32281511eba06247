"""From a recipe to weights: recipes, checkpoints, vocabularies, methods, kernels, and the engine."""

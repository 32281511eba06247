"""Spaces of recipes, strategies that search them, and the loop that scores candidates."""

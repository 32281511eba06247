"""Archives side by side: how much of what merges can do a search has found, and how good it is there."""

"""The page of the scout."""

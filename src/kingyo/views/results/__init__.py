"""Results of a run, or of several seeds, with n and intervals."""

"""People as graders: show pairs of pictures, store choices, fit strengths, and train a preference model."""

"""People as graders: show pairs of images, store choices, fit strengths, and train a preference model."""

"""Read images, and describe them by frozen networks: classifiers, two-tower models and feature networks."""

"""Read images and look at them with frozen networks: classifiers, two-tower models and feature networks."""

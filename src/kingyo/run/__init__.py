"""The opened run: settings, models, items, spaces, searches and workers."""

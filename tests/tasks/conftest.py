"""Settings of the property tests."""

from hypothesis import settings

settings.register_profile("kingyo", deadline=None)  # a busy machine must not fail tests
settings.load_profile("kingyo")

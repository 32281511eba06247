"""What all tests share: no deadline for examples, since machines that run tests are busy ones."""

from hypothesis import settings

settings.register_profile("kingyo", deadline=None)
settings.load_profile("kingyo")

"""Searches side by side on the zoo: kingyo's and those of public libraries, item by item."""

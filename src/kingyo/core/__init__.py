"""Building blocks below everything: input and output, shared types, and code of users."""

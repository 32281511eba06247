"""Files, YAML, schemas and units, and torch imported when it is first used."""

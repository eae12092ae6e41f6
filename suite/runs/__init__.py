"""One run: its directory, training, evaluation and provenance."""

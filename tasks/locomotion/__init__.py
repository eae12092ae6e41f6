"""Tasks of walking robots."""

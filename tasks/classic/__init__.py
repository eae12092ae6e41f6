"""Classic control tasks."""

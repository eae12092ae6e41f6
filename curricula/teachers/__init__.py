"""The eight teachers, one module each."""

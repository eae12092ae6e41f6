"""The algorithms: what the suite knows of each, in one file. `registry` has them by name."""

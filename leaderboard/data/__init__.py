"""Reading runs: schemas, episodes, curves."""

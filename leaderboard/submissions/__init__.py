"""Bundles of strangers: packing, checking, evaluating again."""

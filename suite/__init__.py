"""Runs of the benchmark: command line, configuration, job matrix, training, evaluation, provenance."""

from suite.cli import interrupt

interrupt.watch()
__version__ = "0.1.0"  # the suite version: results of different versions are never compared

"""CUDA graphs of parts of a step, and mathematics that a graph can hold."""

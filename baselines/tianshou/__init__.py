"""Tianshou's algorithms, policies and networks on tensors of a device."""

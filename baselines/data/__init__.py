"""Collecting and storing steps on the device."""

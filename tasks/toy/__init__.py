"""Test tasks in torch alone, without a simulator."""

"""The training loop of one agent, its checkpoints, and starting from another policy."""

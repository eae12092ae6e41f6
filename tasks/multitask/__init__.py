"""One policy for several tasks: their joint declaration, and their envs as one batch."""

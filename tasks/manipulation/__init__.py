"""Tasks of arms."""

"""From a command to a list of runs: configuration, matrix, estimates."""

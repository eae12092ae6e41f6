"""The submission service behind `python -m leaderboard.serve`."""

"""The leaderboard as data."""

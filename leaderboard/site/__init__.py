"""The leaderboard as pages, tables and figures."""

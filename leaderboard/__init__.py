"""Leaderboard: from run directories to statistics, a page and a table. Reads files; never a simulator or torch."""

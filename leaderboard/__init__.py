"""Leaderboard: from run directories to statistics, a page and a table. Reads files; never a simulator or torch."""

import suite as suite  # first: from here on Ctrl-C ends a command without a traceback

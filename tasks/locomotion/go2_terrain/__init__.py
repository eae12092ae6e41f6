"""`go2-terrain`: the Go2 has to reach a goal across slopes, rough ground, stairs or a gap."""

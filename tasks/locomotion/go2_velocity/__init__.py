"""`go2-velocity`: the Go2 has to walk at a commanded velocity, whatever pushes it."""

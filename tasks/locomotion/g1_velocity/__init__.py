"""`g1-velocity`: the G1 has to walk at a commanded velocity on two legs, whatever pushes it."""

"""`cartpole-balance`: a pole on a cart has to be brought upright, at the rail's centre, and kept there."""

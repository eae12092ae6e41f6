"""`ant-run`: the ant has to run straight ahead, as fast as the grade asks, without falling."""

"""`franka-stack`: the Panda has to put one cube on another, at the last grade a third one on top, and let go."""

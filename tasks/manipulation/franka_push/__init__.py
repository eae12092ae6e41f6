"""`franka-push`: the Panda has to push a cube to a goal on the table."""

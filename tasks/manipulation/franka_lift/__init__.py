"""`franka-lift`: the Panda has to grasp an object and hold it at a goal in the air."""

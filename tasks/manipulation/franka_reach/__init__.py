"""`franka-reach`: the Panda's fingertips have to reach a pose and stay there."""

"""`franka-drawer`: the Panda has to pull a drawer open by its handle."""

"""Newton and MuJoCo-Warp below their public names: what a reset changes of the solver's model."""

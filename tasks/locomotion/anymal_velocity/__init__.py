"""`anymal-velocity`: the ANYmal C has to walk at a commanded velocity, whatever pushes it."""

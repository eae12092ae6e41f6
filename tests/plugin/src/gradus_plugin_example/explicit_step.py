"""What the engine explicit_euler computes."""


def explicit(position, velocity, acceleration, dt):
    """Explicit Euler: the position moves at the velocity that it had before."""
    return position + velocity * dt, velocity + acceleration * dt

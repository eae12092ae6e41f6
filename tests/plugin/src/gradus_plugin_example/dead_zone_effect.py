"""What the factor dead_zone does."""

from tasks.factors.signal_effects import Effect


class DeadZone(Effect):
    """Actions of a size up to `value` do nothing, as with a gear that has play."""

    def act(self, action):
        return action * (action.abs() > self.value[:, None])

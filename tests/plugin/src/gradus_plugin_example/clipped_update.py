"""The update of clipped-a2c."""

from baselines.tianshou.on_policy import TensorA2C


class ClippedA2C(TensorA2C):
    """A2C on advantages within `advantage_clip` standard deviations. `rollouts` counts its updates."""

    def __init__(self, *, advantage_clip, **kwargs):
        super().__init__(**kwargs)
        self.advantage_clip, self.rollouts = advantage_clip, 0

    def _add_returns_and_advantages(self, batch, buffer, indices):
        batch = super()._add_returns_and_advantages(batch, buffer, indices)
        limit = float(self.advantage_clip * batch.adv.std())
        batch.adv = batch.adv.clamp(-limit, limit)
        self.rollouts += 1
        return batch

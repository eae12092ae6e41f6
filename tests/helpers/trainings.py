"""Small trainings in the test's own process."""

SMALL = ["train.num_envs=32", "train.env_steps=8192", "train.checkpoints=4", "agent.hidden_sizes=[16]"]


class Silent:
    """A reporter that nobody reads."""

    def status(self, state, **fields):
        pass

    def row(self, row):
        pass

    def beat(self):
        pass

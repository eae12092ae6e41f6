"""Plan the run that the arguments ask for, and train it to its first checkpoint."""

import sys

from suite.cli import arguments
from suite.plan import config
from suite.plan.matrix import plan
from suite.runs import training
from tests.helpers.trainings import Silent


class AskedToStop:
    came = True


if __name__ == "__main__":
    (job,) = plan(arguments.parse(sys.argv[1:])[0])
    job.run.path.mkdir(parents=True)
    config.save(job.config("cpu"), job.run)
    training.StopRequest = AskedToStop
    sys.exit(training.train(config.load(job.run), job.run, "cpu", Silent()))

"""What resets of some rows change of Newton's model, against what Newton's own way makes of it."""

import numpy as np
import pytest

from tests.helpers.simulation import run

pytestmark = pytest.mark.sim

TASKS = ["go2-velocity", "franka-lift", "ant-run", "cartpole-balance", "allegro-reorient"]

SCRIPT = """
import warp as wp
import curricula
import numpy as np
from isaaclab_newton.physics import NewtonManager
from tasks.isaaclab.newton.model import _covered

n = 8
env = tasks.get({task!r}).build(n, "cpu", "newton_mjwarp")
teacher = curricula.make(curricula.config.load("none"), env.spec, "r3", n, "cpu", 0)
env.set_sampler(teacher.sample, [factor.name for factor in env.spec.factors if not factor.held_out])
env.reset(0)
solver = NewtonManager._solver

def arrays():
    m = solver.mjw_model
    found = {{name: value for name, value in vars(m).items() if isinstance(value, wp.array)}}
    found["meaninertia"] = m.stat.meaninertia
    # Of muscles only: see the module.
    return {{k: v.numpy().copy() for k, v in found.items() if k not in ("actuator_acc0", "actuator_lengthrange")}}

def act():
    return torch.rand(n, env.spec.action_dim) * 2 - 1
"""


@pytest.mark.parametrize("task", TASKS)
def test_resets_of_single_rows_make_the_model_that_newton_makes(task):
    found = run(
        SCRIPT.format(task=task)
        + """
built = arrays()
far, notified = {}, []
notify = solver.notify_model_changed
solver.notify_model_changed = lambda flags: (notified.append(int(flags)), notify(flags))
for step in range(10):
    age = torch.zeros(n, dtype=torch.long)
    age[step % n] = env.spec.max_episode_steps - 1
    env._set_age(age)
    env.step(act())
    if step < 5:
        continue
    mine = arrays()
    notify(_covered())
    theirs = arrays()
    for name, value in theirs.items():
        if value.dtype.kind == "f":
            scale = np.abs(value) + 1e-6 * np.abs(value).max(initial=1e-6)
            apart = np.abs(mine[name] - value) / scale
            if name == "body_invweight0":  # whether a body only turns is a matter of the engine's rounding
                apart[value.min(-1) < 1e-9 * value.max(-1)] = 0.0
            apart = float(apart.max(initial=0.0))
        else:
            apart = float((mine[name] != value).any())
        if apart > 1e-6:
            far[name] = max(far.get(name, 0.0), apart)
changed = [name for name, value in arrays().items() if not np.array_equal(value, built[name])]
report(far=far, changed=changed, notified=len(notified), why_not=env._changes.why_not)
"""
    )
    assert found["why_not"] is None
    assert found["notified"] == 2  # the first reset, and the first of a single row, which is compared with
    assert {"body_mass", "body_subtreemass", "dof_invweight0", "body_invweight0"} <= set(found["changed"])
    assert max(found["far"].values(), default=0.0) < 1e-4


def test_rows_that_come_out_as_they_were_keep_every_bit():
    """As in evaluations: every episode of a row has the same factors, and resets of single rows change nothing."""
    found = run(
        SCRIPT.format(task="go2-velocity")
        + """
def rows_end(steps):
    for step in range(steps):
        age = torch.zeros(n, dtype=torch.long)
        age[step % n] = env.spec.max_episode_steps - 1
        env._set_age(age)
        env.step(act())

same = []
rows_end(3)  # now single rows are brought in without Newton
for cell in range(2):
    factors = teacher.sample(torch.arange(n))[1]
    env.set_sampler(lambda ids: (torch.zeros(len(ids)), factors[ids.long()]))
    env.reset(cell)
    env.step(act())
    before = arrays()
    rows_end(4)
    after = arrays()
    same += [np.array_equal(before[name], after[name]) for name in before]
report(same=all(same), why_not=env._changes.why_not)
"""
    )
    assert found == {"same": True, "why_not": None}


def test_a_rollout_is_the_one_of_newtons_own_way():
    def rollout(why_not):
        return run(
            SCRIPT.format(task="go2-velocity")
            + f"""
env._changes.why_not = {why_not!r}
torch.manual_seed(0)
seen = []
for step in range(24):
    if step < 8:
        age = torch.zeros(n, dtype=torch.long)
        age[step] = env.spec.max_episode_steps - 1
        env._set_age(age)
    env.step(act())
    seen.append(env.scene["robot"].data.joint_pos.torch.clone())
report(seen=torch.stack(seen).tolist(), factors=env.factors.tolist())
"""
        )

    mine, theirs = rollout(None), rollout("asked for")
    assert mine["factors"] == theirs["factors"]
    assert np.abs(np.array(mine["seen"]) - np.array(theirs["seen"])).max() < 1e-3

"""Recorded parts of a step against the same parts as they are, in the same states of the same simulation.

On CUDA all tasks on both engines; on a CPU, where nothing can be recorded, one task with fakes of graphs.
"""

import pytest
import torch

import tasks
from tests.helpers.simulation import PARTS, run

pytestmark = pytest.mark.sim
CUDA = torch.cuda.is_available()
ENGINES = ("ovphysx", "newton_mjwarp")


@pytest.mark.parametrize("engine", ENGINES if CUDA else ENGINES[:1])
@pytest.mark.parametrize("task", tasks.names() if CUDA else ["franka-stack"])
def test_recorded_parts_give_what_the_parts_give(task, engine):
    found = run(f"""
import tasks.cuda.record
from tests.helpers import fake_graphs
from torch.utils._pytree import tree_leaves

device, envs, steps = ("cuda:0", 256, 150) if {CUDA} else ("cpu", 8, 30)
if not {CUDA}:
    fake_graphs.use()
tasks.cuda.record.prepare()
env = tasks.get({task!r}).build(envs, device, {engine!r}, recorded=False)
levels = torch.linspace(0, 1, envs, device=device)
env.set_sampler(any_factors(env, levels))
env.reset(seed=0, staggered=True)
env.record()
changed, compared, wrong = {{}}, {{}}, set()

class Watching(tasks.cuda.record.Look):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for x, argument in zip(args, function._schema.arguments):
            if argument.alias_info and argument.alias_info.is_write:
                if not isinstance(self._told(x)[0], int):
                    changed[now][x.data_ptr(), x.shape, x.stride()] = x
        return super().__torch_dispatch__(function, types, args, kwargs)

def tensors(outputs):
    return [x for x in tree_leaves(outputs) if isinstance(x, torch.Tensor)]

def both(name):
    holder, attribute = owner(env, name)
    part = getattr(holder, attribute)
    changed[name], compared[name] = {{}}, 0
    def call(*inputs):
        global now
        now, targets = name, list(changed[name].values())
        if not part._graph:
            return part(*inputs)
        before = [x.clone() for x in targets]
        outputs = part(*inputs)
        found = [x.clone() for x in (*tensors(outputs), *targets)]
        for x, old in zip(targets, before):
            x.copy_(old)
        env._env._now.clear()
        expected = [*tensors(part._part(*inputs)), *targets]
        compared[name] += 1
        if not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
            wrong.add(name)
        return outputs
    setattr(holder, attribute, call)
    return part

tasks.cuda.record.Look = Watching
parts = [both(name) for name in {PARTS}]
for step in range(steps):
    env.step(torch.rand(envs, env.spec.action_dim, device=device) * 2 - 1)
    env._env.episode_length_buf[step % envs] += env.spec.max_episode_steps  # an episode ends in every step
report(why_not=[part.why_not for part in parts], compared=compared, wrong=sorted(wrong))
env.close()
""")
    assert found["why_not"] == [None] * len(PARTS)
    assert min(found["compared"].values()) > 20
    assert found["wrong"] == []

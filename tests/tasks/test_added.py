"""Tasks and effects that other packages add, or a script for itself."""

import dataclasses

import pytest
import torch

import tasks
from tasks.core.registry import RegistryError
from tasks.factors import registry as effects
from tasks.factors.signal_effects import Effect
from tasks.spec import Factor

TOY = tasks.get("toy-reach")


@pytest.fixture
def mine():
    spec = tasks.register(dataclasses.replace(TOY, name="mine"))
    yield spec
    tasks.REGISTRY.unregister("mine")


def test_a_registered_task_is_known_and_no_part_of_all(mine):
    assert tasks.get("mine") is mine
    assert "mine" in tasks.known()
    assert tasks.added() == ["mine"]
    assert "mine" not in tasks.names()
    assert tasks.get("mine+toy-line").parts[0] is mine


def test_a_task_has_the_name_of_its_spec(mine):
    with pytest.raises(RegistryError, match="task 'toy-reach' is there already, from Gradus"):
        tasks.register(TOY)
    with pytest.raises(RegistryError, match="another name than that of its spec, 'toy-reach'"):
        tasks.REGISTRY.register("other", TOY)
    with pytest.raises(RegistryError, match="is a dict, not a TaskSpec"):
        tasks.REGISTRY.register("other", {})


def test_a_registered_effect_carries_out_a_factor():
    @effects.register("test.drift")
    class Drift(Effect):
        def measure(self, obs, fresh):
            return obs + self.value[:, None]

    try:
        drift = Factor("drift", "sensor", "1", 0.0, {}, (0.0, 1.0), effect="test.drift")
        env = dataclasses.replace(TOY, factors=(*TOY.factors, drift)).build(4, "cpu", "torch")
        row = torch.tensor([factor.nominal for factor in env.spec.factors])
        row[-1] = 0.5
        env.set_sampler(lambda env_ids: (torch.zeros(len(env_ids)), row.repeat(len(env_ids), 1)))
        assert torch.equal(env.reset(0), TOY.build(4, "cpu", "torch").reset(0) + 0.5)
    finally:
        effects.REGISTRY.unregister("test.drift")
    with pytest.raises(ValueError, match=r"unknown effect 'test\.drift'"):
        effects.load("test.drift")


def test_an_effect_is_a_class_of_effects():
    with pytest.raises(RegistryError, match=r"is no subclass of tasks\.factors\.signal_effects\.Effect"):
        effects.register("test.wrong")(dict)

"""Observations, actions and safety limits are built from what a task declares."""

import dataclasses
import sys
from types import SimpleNamespace

import pytest
from isaaclab.managers import ObservationTermCfg

import tasks
from tasks.isaaclab import declared
from tasks.manipulation import franka
from tasks.spec import SafetyLimit, Term

NAME = "some_task_of_these_tests"
SPEC = dataclasses.replace(
    tasks.get("toy-reach"),
    make_env=f"{NAME}:make_env",
    observations=(Term("speed", 1, "m/s"), Term("place", 3, "m")),
    critic_observations=(Term("truth", 2, "1"),),
    safety={"fast": SafetyLimit(2.0, "m/s", ""), "hot": SafetyLimit(80.0, "°C", "")},
)


def speed(env):
    return "mine"


@pytest.fixture(autouse=True)
def module(monkeypatch):
    monkeypatch.setitem(sys.modules, NAME, SimpleNamespace(__name__=NAME, speed=speed, truth="no function"))


def terms(group):
    return {name: term for name, term in vars(group).items() if isinstance(term, ObservationTermCfg)}


def test_terms_stand_in_the_order_of_the_spec_whatever_the_order_they_are_given_in():
    shared = SimpleNamespace(__name__="shared", speed=lambda env: "theirs", truth=lambda env: "theirs")
    place = ObservationTermCfg(func=lambda env: "given", scale=0.5)
    groups = declared.observations(SPEC, shared, place=place)
    assert list(groups) == ["policy", "critic"]
    assert list(terms(groups["policy"])) == ["speed", "place"]
    assert terms(groups["policy"])["speed"].func is speed, "the task's own function comes first"
    assert terms(groups["policy"])["place"] is place
    assert terms(groups["critic"])["truth"].func is shared.truth


def test_a_term_without_a_function_is_named():
    with pytest.raises(ValueError, match=rf"toy-reach: no function for the observation 'place' in {NAME}, sys$"):
        declared.observations(SPEC, sys)


def test_what_is_given_has_to_be_declared():
    more = ObservationTermCfg(func=speed)
    with pytest.raises(ValueError, match="toy-reach: the observation 'height' is not declared in the spec"):
        declared.observations(SPEC, height=more, place=more)
    with pytest.raises(ValueError, match="the safety limit 'loud' is not declared"):
        declared.safety(SPEC, fast=speed, hot=speed, loud=speed)


def test_limits_come_from_the_spec():
    over = declared.safety(SPEC, hot=lambda env, limit: env > limit, fast=lambda env, limit: env < -limit)
    assert list(over) == ["fast", "hot"]
    assert over["hot"](81.0)
    assert not over["hot"](80.0)
    assert over["fast"](-2.1)
    with pytest.raises(ValueError, match="no condition for the safety limit 'hot'"):
        declared.safety(SPEC, fast=speed)


@pytest.mark.parametrize(
    ("task", "yaw", "gripper"),
    [("franka-push", False, False), ("franka-drawer", False, True), ("franka-lift", True, True)],
)
def test_a_hand_moves_as_its_task_declares(task, yaw, gripper):
    spec = tasks.get(task)
    cfg = franka.hand(spec)
    assert (cfg.yaw, cfg.gripper) == (yaw, gripper)
    swapped = dataclasses.replace(spec, actions=spec.actions[::-1]) if gripper else tasks.get("franka-reach")
    with pytest.raises(ValueError, match="in this order"):
        franka.hand(swapped)

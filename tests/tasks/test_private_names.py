"""Private names of Isaac Lab and OVPhysX: they exist in the installed versions, and their absence is noticed."""

from types import SimpleNamespace

import pytest

from tasks.core.fast import Home

pytest.importorskip("isaaclab_ov")

from tasks.isaaclab import private, step_by_step
from tasks.isaaclab.launch import launch
from tasks.isaaclab.newton import runtime as newton
from tasks.isaaclab.overflow import Unknown
from tasks.isaaclab.ovphysx import layout, names, state, stepping

HOMES = {
    "core": private.HOME,
    "wrenches": private.WRENCHES,
    "ovphysx": names.HOME,
    "collections": names.COLLECTIONS,
    "newton's counters": newton.COUNTERS,
}


@pytest.mark.parametrize("home", HOMES)
def test_each_private_name_exists(home):
    assert HOMES[home].untested() is None
    assert HOMES[home].missing() == []


def without(home, owner, attribute):
    """The same home in a library that has no such attribute."""
    return Home(home.library, home.versions, {**home.names, owner: (attribute,)}, home.kernels)


@pytest.fixture
def lacking(monkeypatch):
    gone = without(names.HOME, "isaaclab_ov.sensors.contact_sensor:ContactSensor", "_no_longer_there")
    for module in (stepping, state):
        monkeypatch.setattr(module, "HOME", gone)


def env():
    scene = SimpleNamespace(articulations={}, rigid_objects={}, rigid_object_collections={}, sensors={})
    return SimpleNamespace(scene=scene, runtime=SimpleNamespace(direct=True))


def test_physics_is_stepped_by_public_names_where_a_private_one_is_missing(lacking, capsys):
    assert isinstance(stepping.make(env()), stepping.Stepwise)
    assert not state.direct(env())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("Isaac Lab on OVPhysX: isaaclab 3.0.0, ovphysx 0.6.4")
    assert "ContactSensor._no_longer_there" in said[0]


def test_the_switch_takes_the_public_ways(monkeypatch, capsys):
    monkeypatch.setenv("GRADUS_FAST", "0")
    assert isinstance(stepping.make(env()), stepping.Stepwise)
    assert not state.direct(env())
    assert capsys.readouterr().err == ""


class Composer:
    """A wrench composer that counts how often its setter is called."""

    def __init__(self):
        self.calls, self.force = 0, None

    def set_forces_and_torques_index(self, *, forces, is_global):
        assert is_global
        self.calls, self.force = self.calls + 1, forces.clone()


def test_composed_forces_use_the_setter_where_a_private_name_is_missing(monkeypatch, capsys):
    gone = without(private.WRENCHES, "isaaclab.utils.wrench_composer:WrenchComposer", "_no_longer_there")
    monkeypatch.setattr(private, "WRENCHES", gone)
    composer = Composer()
    asset = SimpleNamespace(permanent_wrench_composer=composer, num_instances=2, num_bodies=3, device="cpu")
    composed = step_by_step.Composed(asset)
    composed.on_bodies[1, 2, 0] = 5.0
    composed.hand_over(0)
    assert composer.calls == 2
    assert composer.force[1, 2].tolist() == [5.0, 0.0, 0.0]
    assert capsys.readouterr().err.count("slower public way") == 1


def test_what_has_no_public_way_is_refused_before_anything_is_built(monkeypatch):
    gone = without(private.HOME, "isaaclab.managers:EventManager", "_no_longer_there")
    monkeypatch.setattr(private, "HOME", gone)
    with pytest.raises(RuntimeError, match=r"^Isaac Lab: .* has no .*EventManager\._no_longer_there; tested with .*$"):
        launch(None, "cpu", None).__enter__()


def test_a_collection_that_cannot_be_mended_is_refused_in_one_line(monkeypatch):
    owner = "isaaclab_ov.assets:RigidObjectCollection"
    monkeypatch.setattr(layout, "COLLECTIONS", without(names.COLLECTIONS, owner, "_no_longer_there"))
    with pytest.raises(RuntimeError, match=r"has no .*RigidObjectCollection\._no_longer_there; tested with isaaclab"):
        layout.mend(SimpleNamespace(data=None))


def test_contacts_are_not_counted_where_newton_has_no_counters(monkeypatch, capsys):
    gone = without(newton.COUNTERS, "mujoco_warp._src.types:OverflowType", "NO_LONGER_THERE")
    monkeypatch.setattr(newton, "COUNTERS", gone)
    assert isinstance(newton.RUNTIME.overflow(None), Unknown)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "OverflowType.NO_LONGER_THERE; lost contacts are not counted" in said


def test_isaac_lab_asks_ovphysx_for_its_config_when_it_needs_it():
    """`GRADUS_PHYSX_THREADS` replaces the name in the module `ovphysx`, which would be too late for a copy of it."""
    import ovphysx
    from isaaclab_ov.physics import ovphysx_manager

    assert callable(ovphysx.PhysXConfig)
    assert "PhysXConfig" in ovphysx_manager.OvPhysxBackend.__init__.__code__.co_names
    assert not hasattr(ovphysx_manager, "PhysXConfig")

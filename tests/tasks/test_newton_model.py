"""Private names of Newton's that `tasks.isaaclab.newton.model` takes, and what it does where it cannot work."""

from types import SimpleNamespace

import pytest

newton_model = pytest.importorskip("tasks.isaaclab.newton.model")


def test_each_private_name_exists():
    assert newton_model.HOME.untested() is None
    assert newton_model.HOME.missing() == []


def test_without_the_fast_path_newton_is_told_in_its_own_way(monkeypatch):
    from isaaclab_newton.physics import NewtonManager
    from newton import ModelFlags

    monkeypatch.setenv("GRADUS_FAST", "0")
    both = {ModelFlags.BODY_INERTIAL_PROPERTIES, ModelFlags.JOINT_DOF_PROPERTIES}
    monkeypatch.setattr(NewtonManager, "_model_changes", set(both))
    newton_model.Changes(4, "cpu").bring(1)
    assert NewtonManager._model_changes == both


def test_a_solver_that_is_not_as_it_was_is_told_of_changes_as_newton_has_it(monkeypatch, capsys):
    from isaaclab_newton.physics import NewtonManager
    from newton import ModelFlags

    told = []
    solver = SimpleNamespace(notify_model_changed=lambda flags: told.append(flags))
    monkeypatch.setattr(NewtonManager, "_solver", solver)
    monkeypatch.setattr(NewtonManager, "_model_changes", set())
    changes = newton_model.Changes(4, "cpu")
    both = ModelFlags.BODY_INERTIAL_PROPERTIES | ModelFlags.JOINT_DOF_PROPERTIES
    for _ in range(2):
        NewtonManager._model_changes.update((ModelFlags.BODY_INERTIAL_PROPERTIES, ModelFlags.JOINT_DOF_PROPERTIES))
        changes.bring(1)
    assert told == [both]
    assert NewtonManager._model_changes == {both}  # before the next physics step
    assert "mj_model" in changes.why_not
    assert capsys.readouterr().err.count("slow way") == 1

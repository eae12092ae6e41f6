"""Private names of Newton's that `tasks.isaaclab.newton.model` takes, and what it does where it cannot work."""

import inspect
from types import SimpleNamespace

import pytest

newton_model = pytest.importorskip("tasks.isaaclab.newton.model")


def test_each_private_name_exists():
    from isaaclab_newton.physics import NewtonManager
    from newton._src.solvers.mujoco.kernels import update_jnt_solref_from_invweight0_kernel
    from newton.solvers import SolverMuJoCo

    assert isinstance(NewtonManager._model_changes, set)
    assert hasattr(NewtonManager, "_solver")
    for names in newton_model.UPDATES.values():
        assert all(callable(getattr(SolverMuJoCo, name)) for name in names)
    assert callable(SolverMuJoCo._invalidate_contact_fast_path)
    source = inspect.getsource(SolverMuJoCo)
    for name in ("mjc_jnt_to_newton_dof", "mj_model", "mjw_model", "mjw_data", "use_mujoco_cpu"):
        assert f"self.{name}" in source
    arguments = [argument.label for argument in update_jnt_solref_from_invweight0_kernel.adj.args]
    limits = ["mjc_jnt_to_newton_dof", "joint_limit_ke", "joint_limit_kd", "joint_limit_solref"]
    limits += ["joint_limit_solref_mode", "jnt_dofadr", "dof_invweight0", "jnt_solimp"]
    assert arguments == [*limits, "jnt_solref"]


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

"""What a reset of some rows changes of Newton's bodies and joints, brought into MuJoCo-Warp's model.

Newton's own `notify_model_changed` computes the model's constants anew for all worlds, in hundreds of launches from the
host. Here the same constants are computed for the rows that changed, in a few launches that are one CUDA graph:
`body_subtreemass`, `dof_invweight0`, `body_invweight0`, the mean inertia, and the `jnt_solref` of limits. With the
Jacobians J of bodies in the reference pose, M = sum of m Jl' Jl + Jr' I Jr over bodies, plus armatures on the diagonal;
weights are means of the diagonals of inv(M) and J inv(M) J'. See `mj_setConst` of MuJoCo
(engine_setconst.c: setInertia, set0) and `set_const_0` of MuJoCo-Warp. Constants of muscles, tendons, connect and weld
constraints are left out: models that have some go Newton's way.

All private names of Newton, MuJoCo-Warp and Isaac Lab's Newton manager that this takes are in this module.
"""

from __future__ import annotations

import sys
from functools import reduce
from operator import or_
from typing import Any

import mujoco
import numpy as np
import warp as wp
from isaaclab_newton.physics import NewtonManager
from newton import BodyFlags, ModelFlags

from tasks.core.fast import Home
from tasks.isaaclab.newton import kernels

TOLERANCE = 1e-2
"""Between constants computed here and the engine's, in a first comparison: single precision, far from the origin."""

DERIVED = ("body_subtreemass", "dof_invweight0", "body_invweight0")
UPDATES = {  # names of the solver's methods that copy Newton's model to its own, by flag
    "BODY_INERTIAL_PROPERTIES": ("_update_model_inertial_properties",),
    "JOINT_DOF_PROPERTIES": ("_update_joint_dof_properties",),
    "SHAPE_PROPERTIES": (
        "_update_geom_properties",
        "_update_site_properties",
        "_update_pair_properties",
        "_sync_worldbody_geom_xposes",
        "_sync_site_xposes",
    ),
}

_SOLVER = (
    "mj_model",
    "mjw_model",
    "mjw_data",
    "mjc_jnt_to_newton_dof",
    "use_mujoco_cpu",
    "_invalidate_contact_fast_path",
)
_LIMITS = ("mjc_jnt_to_newton_dof", "joint_limit_ke", "joint_limit_kd", "joint_limit_solref", "joint_limit_solref_mode")

HOME = Home(
    "Isaac Lab on Newton",
    {"isaaclab": "3.0.0", "newton": "1.6.1"},
    {
        "isaaclab_newton.physics:NewtonManager": ("_model_changes", "_solver"),
        "newton.solvers:SolverMuJoCo": (*_SOLVER, *(name for names in UPDATES.values() for name in names)),
    },
    {
        "newton._src.solvers.mujoco.kernels:update_jnt_solref_from_invweight0_kernel": (
            *_LIMITS,
            "jnt_dofadr",
            "dof_invweight0",
            "jnt_solimp",
            "jnt_solref",
        )
    },
)
"""Without them, and with `GRADUS_FAST=0`, resets change the model in Newton's own way."""


class Changes:
    """What resets change of the solver's model.

    Changes of some rows are brought in as soon as a reset has made them. A reset of all rows is left to
    `notify_model_changed`, before the next physics step.

    Attributes:
        why_not: what is not covered here, once that is known; all resets go Newton's way from then on.
    """

    def __init__(self, num_envs: int, device: str) -> None:
        """Nothing has changed."""
        self._num_envs, self._device = num_envs, device
        self._constants: Constants | None = None
        self._graphs: dict[int, Any] = {}
        self._notified = False  # since the last change that was brought in here
        self.why_not: str | None = None
        self._usable = HOME.usable()

    def bring(self, rows: int) -> None:
        """Bring in what a reset of that many rows changed, for factors."""
        if not self._usable:
            return
        self.gather()
        changes = NewtonManager._model_changes
        if self.why_not or not changes:
            return
        (flags,) = changes
        if rows == self._num_envs or flags & ~_covered():
            self._notified = True
            return
        with wp.ScopedDevice(self._device):
            if self._constants:
                self._update(int(flags))
            else:
                NewtonManager._solver.notify_model_changed(flags)
                self._compare(NewtonManager._solver)
        changes.clear()

    def gather(self) -> None:
        """Let the solver hear of all changes together: of each it would work out the same constants again."""
        if not self._usable:
            return
        changes = NewtonManager._model_changes
        if len(changes) > 1:
            together = reduce(or_, changes)
            changes.clear()
            changes.add(together)

    def _compare(self, solver: Any) -> None:
        """Begin, with the engine's own constants to compare with. Waits."""
        try:
            if why := _uncovered(solver):
                raise ValueError(why)
            constants = Constants(solver)
            difference = constants.difference()
            if not difference < TOLERANCE:
                raise ValueError(f"its constants are not the engine's, by a factor of {1 + difference:.3g}")
            self._constants = constants
        except (AttributeError, ImportError, KeyError, TypeError, ValueError, RuntimeError) as error:
            self.why_not = str(error).partition("\n")[0]
            print(f"resets on Newton take its slow way to change masses and joints: {self.why_not}", file=sys.stderr)

    def _update(self, flags: int) -> None:
        if self._notified:
            self._constants.keep()
            self._notified = False
        graph = self._graphs.get(flags)
        if graph:
            wp.capture_launch(graph)
            return
        self._constants.update(flags)  # also loads what a recording would have to load
        if flags not in self._graphs and wp.get_device(self._device).is_cuda:
            self._graphs[flags] = self._record(flags)

    def _record(self, flags: int) -> Any:
        """A graph of such an update, or None where there can be none. Computes nothing."""
        try:
            with wp.ScopedCapture(force_module_load=False) as capture:
                self._constants.update(flags)
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            print(f"changes of Newton's model are not recorded as a CUDA graph: {why}", file=sys.stderr, flush=True)
            return None
        return capture.graph


def _covered() -> int:
    return reduce(or_, (int(ModelFlags[name]) for name in UPDATES))


def _uncovered(solver: Any) -> str | None:
    """What of the model no formula of this module is for, or None."""
    m = solver.mj_model
    if solver.use_mujoco_cpu:
        return "MuJoCo on the CPU"
    if m.ntendon or m.nflex:
        return "tendons or flexible bodies"
    if m.ncam or m.nlight:
        return "cameras or lights in MuJoCo's model"
    if set(m.eq_type.tolist()) & {mujoco.mjtEq.mjEQ_CONNECT, mujoco.mjtEq.mjEQ_WELD}:
        return "connect or weld constraints"
    muscle = mujoco.mjtGain.mjGAIN_MUSCLE, mujoco.mjtBias.mjBIAS_MUSCLE
    if muscle[0] in m.actuator_gaintype or muscle[1] in m.actuator_biastype:
        return "muscles"
    if (solver.model.body_flags.numpy() & int(BodyFlags.KINEMATIC)).any():
        return "kinematic bodies"
    if getattr(solver, "enable_sleeping", False):
        return "sleeping islands"
    return None


class Constants:
    """Constants of MuJoCo-Warp's model, for the rows in which bodies or armatures differ from the last time."""

    def __init__(self, solver: Any) -> None:
        """Take the model as it is now; the reference pose never changes."""
        self._solver, m, w = solver, solver.mj_model, solver.mjw_model
        self._nv, self._nbody, self._worlds = m.nv, m.nbody, solver.mjw_data.nworld
        self._updates = {
            int(ModelFlags[flag]): [getattr(solver, name) for name in names] for flag, names in UPDATES.items()
        }
        self._inputs = [w.body_mass, w.body_ipos, w.body_iquat, w.body_inertia, w.dof_armature]
        self._outputs = [*(getattr(w, name) for name in DERIVED), w.stat.meaninertia]
        self._kept = [wp.clone(x) for x in self._inputs]
        for x in self._inputs:
            if x.shape[0] != self._worlds:
                raise ValueError("worlds share one model")
        self._changed = wp.zeros(self._worlds, dtype=int)
        self._offset = wp.zeros((self._worlds, m.nbody), dtype=wp.vec3d)
        self._inertia = wp.zeros((self._worlds, m.nbody), dtype=wp.mat33d)
        self._matrix, self._inverse = (wp.zeros((self._worlds, m.nv, m.nv), dtype=wp.float64) for _ in range(2))
        self._pose(m, w.qpos0.numpy()[0])
        self._limits = self._limit_inputs()

    def _pose(self, m: Any, qpos: np.ndarray) -> None:
        """Jacobians at the origins of bodies, their orientations, and the structure of the tree."""
        data = mujoco.MjData(m)
        data.qpos[:] = qpos
        mujoco.mj_kinematics(m, data)
        mujoco.mj_comPos(m, data)
        linear, angular = np.zeros((2, m.nbody, 3, m.nv))
        for body in range(m.nbody):
            mujoco.mj_jacBody(m, data, linear[body], angular[body], body)
        moved = (np.abs(linear) + np.abs(angular)).max(1) > 0.0  # [nbody, nv]
        self._linear, self._angular = (wp.array(x.transpose(0, 2, 1), dtype=wp.vec3d) for x in (linear, angular))
        self._turn = wp.array(data.xquat[:, [1, 2, 3, 0]], dtype=wp.quatd)
        # Columns that move a body lie between these two, and a row of M has nothing before its first.
        span = [(x.argmax(), m.nv - x[::-1].argmax()) if x.any() else (0, 0) for x in moved]
        first = [
            min((begin for (begin, _), x in zip(span, moved, strict=True) if x[i]), default=i) for i in range(m.nv)
        ]
        self._span = wp.array(np.array(span), dtype=wp.vec2i)
        self._first = wp.array(np.array(first), dtype=int)
        inside = np.eye(m.nbody, dtype=int)
        for body in reversed(range(1, m.nbody)):
            inside[m.body_parentid[body]] |= inside[body]
        self._inside = wp.array(inside, dtype=int)
        self._fixed = wp.array(m.body_weldid == 0, dtype=bool)
        means = []  # of each degree of freedom: first and number of those that its weight is a mean of
        for joint, dof in enumerate(m.jnt_dofadr):
            kind = m.jnt_type[joint]
            if kind == mujoco.mjtJoint.mjJNT_FREE:
                means += [(dof, 3)] * 3 + [(dof + 3, 3)] * 3
            else:
                means += [(dof, 3)] * 3 if kind == mujoco.mjtJoint.mjJNT_BALL else [(dof, 1)]
        self._means = wp.array(np.array(means), dtype=wp.vec2i)

    def _limit_inputs(self) -> list[Any]:
        solver, model = self._solver, self._solver.model
        own, w = getattr(model, "mujoco", None), solver.mjw_model
        solref, mode = (getattr(own, name, None) for name in ("solreflimit", "solreflimit_mode"))
        gains = [model.joint_limit_ke, model.joint_limit_kd]
        return [solver.mjc_jnt_to_newton_dof, *gains, solref, mode, w.jnt_dofadr, w.dof_invweight0, w.jnt_solimp]

    def update(self, flags: int) -> None:
        """Bring in changes of kinds `flags`. Only launches: all that is read and written stays where it is."""
        # Here, since it may be gone.
        from newton._src.solvers.mujoco.kernels import update_jnt_solref_from_invweight0_kernel as scale_limits

        for flag, updates in self._updates.items():
            for update in updates if flags & flag else ():
                update()
        self._solver._invalidate_contact_fast_path()
        self._changed.zero_()
        dim = (self._worlds, self._nbody + self._nv)
        wp.launch(kernels.note, dim=dim, inputs=[self._nbody, *self._inputs, *self._kept, self._changed])
        self._compute(self._outputs)
        joints = self._limits[0].shape[1]
        if joints and self._limits[1] is not None:
            outputs = [self._solver.mjw_model.jnt_solref]
            wp.launch(scale_limits, dim=(self._worlds, joints), inputs=self._limits, outputs=outputs)

    def keep(self) -> None:
        """Take the constants for those of the model as it is now: the engine has just worked them out."""
        for kept, x in zip(self._kept, self._inputs, strict=True):
            wp.copy(kept, x)

    def difference(self) -> float:
        """The largest relative one between the engine's constants and those computed here, of all rows. Waits."""
        found = [wp.clone(x) for x in self._outputs]
        self._changed.fill_(1)
        self._compute(found)
        subtree, dofs, bodies, mean = ((a.numpy(), b.numpy()) for a, b in zip(found, self._outputs, strict=True))
        # A body that only turns has one weight for both; whether it only turns is a matter of MuJoCo-Warp's rounding.
        sure = bodies[1].min(-1) > 1e-9 * bodies[1].max(-1)
        return max(_apart(*pair) for pair in (subtree, dofs, (bodies[0][sure], bodies[1][sure]), mean))

    def _compute(self, outputs: list[Any]) -> None:
        subtree, dofs, bodies, mean = outputs
        worlds, nbody, nv, changed = self._worlds, self._nbody, self._nv, self._changed
        mass, position, turn, inertia, armature = self._inputs
        frames = [self._inside, self._turn, mass, position, turn, inertia]
        placed = [self._offset, self._inertia]
        jacobians = [self._linear, self._angular]
        wp.launch(kernels.place, dim=(worlds, nbody), inputs=[changed, *frames, *placed, subtree])
        if not nv:
            return
        known = [changed, self._first, *jacobians, self._span]
        wp.launch(kernels.fill, dim=(worlds, nv, nv), inputs=[*known, mass, *placed, armature, self._matrix])
        wp.launch(kernels.factor, dim=worlds, inputs=[changed, self._first, self._matrix, mean])
        wp.launch(kernels.invert, dim=(worlds, nv), inputs=[changed, self._matrix, self._inverse])
        wp.launch(kernels.weigh_dofs, dim=(worlds, nv), inputs=[changed, self._means, self._inverse, dofs])
        weighed = [*jacobians, self._span, self._fixed, self._offset, self._inverse, bodies]
        wp.launch(kernels.weigh_bodies, dim=(worlds, nbody), inputs=[changed, *weighed])


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    scale = np.maximum(np.abs(expected), 1e-6)
    return float(np.max(np.abs(found - expected) / scale, initial=0.0))

"""The physics of one control step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import warp as wp
from isaaclab.envs.mdp import JointEffortAction, JointPositionAction, JointVelocityAction
from isaaclab.physics import PhysicsManager
from isaaclab.sensors import BaseContactSensor

from tasks.core.env_state import EnvState
from tasks.isaaclab.ovphysx.forces import Composed, Direct

_CONSTANT = {term.apply_actions for term in (JointEffortAction, JointPositionAction, JointVelocityAction)}


def make(env: EnvState, engine: str) -> StepByStep | Held:
    """The faster of the two that is right for the env.

    An action term of a task's own says by an attribute `constant` that its command is that of `process_actions` until
    the next control step.
    """
    if engine == "ovphysx":
        for collection in env.scene.rigid_object_collections.values():
            _lay_out(collection)
    return Held(env) if engine == "ovphysx" and _holds(env) else StepByStep(env)


def _terms(env: EnvState) -> list[Any]:
    return [env.action_manager.get_term(name) for name in env.action_manager.active_terms]


def _holds(env: EnvState) -> bool:
    drives = [robot.actuators for robot in env.scene.articulations.values()]
    inside = all(drive._implicit_executor and not drive._execution_actuators for drive in drives)
    return inside and all(type(t).apply_actions in _CONSTANT or getattr(t, "constant", False) for t in _terms(env))


class StepByStep:
    """Isaac Lab's way: commands are written before, and the joints read after, every physics step."""

    def __init__(self, env: EnvState) -> None:
        """Ask the engine how many physics steps one call of it makes."""
        self._env = env
        self.forced: set[Any] = set()  # all commands are handed over in every step anyway
        self._forces: dict[Any, Composed] = {}
        self._at_once = env.cfg.decimation if env.sim.physics_manager.handles_decimation() else 1

    def advance(self) -> None:
        """One control step, up to date in the scene's data."""
        env = self._env
        for forces in self._forces.values():
            forces.hand_over(0)
        for _ in range(env.cfg.decimation // self._at_once):
            env.action_manager.apply_action()
            env.scene.write_data_to_sim()
            env.sim.step(render=False)
            env.scene.update(env.physics_dt * self._at_once)
        for forces in self._forces.values():
            forces.clear()

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """See `LabEnv.forces`."""
        if asset not in self._forces:
            self._forces[asset] = Composed(asset)
        return self._forces[asset].on_bodies

    def reset(self, env_ids: torch.Tensor) -> None:
        """Forget what the scene's parts remember of rows `env_ids` [k] int32, forces and contacts say."""
        self._env.scene.reset(env_ids)


class Held:
    """OVPhysX's drives hold what they are told, so a command is written once in a control step.

    That takes actions whose commands are constant in a control step, and drives of the engine's own (implicit
    actuators). A target goes to the engine as it is set, so it need not be handed over a second time.
    Between two physics steps there remain forces, which PhysX need not remember; contact sensors, whose readings it
    clears in the very step in which a contact is lost; and, for torques and accelerations, the joints just before the
    last physics step.

    Attributes:
        forced: robots whose joints are given forces.
    """

    def __init__(self, env: EnvState) -> None:
        """Sort the scene's parts."""
        from tasks.isaaclab.ovphysx.contacts import Contacts

        self._env, self._steps, self._dt = env, env.cfg.decimation, env.physics_dt
        scene = env.scene
        self._robots = list(scene.articulations.values())
        self._accelerations = {robot: _accelerations(robot.data) for robot in self._robots}
        self._commands = [_Command(term) if _is_direct(term) else term for term in _terms(env)]
        self._commanded = {term._asset for term in _terms(env)}
        self.forced = {term._asset for term in _terms(env) if isinstance(term, JointEffortAction)}
        self._bodies = [*scene.rigid_objects.values(), *scene.rigid_object_collections.values()]
        self._forces: dict[Any, Direct | Composed] = {}
        contacts = {k: v for k, v in scene.sensors.items() if isinstance(v, BaseContactSensor)}
        self._sensors = [sensor for name, sensor in scene.sensors.items() if name not in contacts]
        self._shown = bool(self._sensors) or env.sim.is_rendering  # to cameras, say, which read no asset's data
        dt = self._steps * self._dt
        self._contacts = [Contacts(s, getattr(s.cfg, "friction", True), dt) for s in contacts.values()]
        for robot in self._robots:
            robot.actuators.submit_commands()  # joints that no action commands keep this for good

    def advance(self) -> None:
        """See `StepByStep.advance`."""
        for command in self._commands:
            command.apply_actions()
        for forces in self._forces.values():
            forces.hand_over(0)
        for robot in self._robots:
            if robot not in self._commanded or _pushed(robot):  # else a drawer moves by 1e-11
                robot.write_data_to_sim()
                continue
            if self._steps < 3 or robot in self.forced:  # in so few steps, torques are from here
                robot.actuators.compute(self._dt)
            if robot in self.forced:
                _submit_forces(robot)
        for body in self._bodies:
            if _pushed(body):
                body.write_data_to_sim()
        for step in range(1, self._steps):
            self.step()
            self._between(step)
        if self._shown:
            self._env.sim.step(render=False)
        else:
            self.step()
        for robot in self._robots:
            robot.data._sim_timestamp += self._dt
            self._accelerations[robot]()
        for body in self._bodies:
            body.update(self._dt)
        for sensor in self._sensors:
            sensor.update(self._steps * self._dt)
        for contacts in self._contacts:
            contacts.update()
        for forces in self._forces.values():
            forces.clear()

    def step(self) -> None:
        """A physics step: `sim.step` without updating the poses of links, which those who read them do."""
        from isaaclab_ov.physics import OvPhysxManager

        OvPhysxManager.backend.physx.step_sync(dt=self._dt)
        OvPhysxManager.kinematics_dirty = True
        PhysicsManager._sim_time += self._dt

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """See `LabEnv.forces`."""
        if asset not in self._forces:
            direct = asset in self._robots and not asset.data.has_body_ordering
            self._forces[asset] = Direct(asset, self._dt) if direct else Composed(asset)
        self._forces[asset].include(bodies)
        return self._forces[asset].on_bodies

    def reset(self, env_ids: torch.Tensor) -> None:
        """See `StepByStep.reset`."""
        for part in (*self._robots, *self._bodies, *self._sensors):
            part.reset(env_ids)
        rows = self._env.rows(env_ids)
        for contacts in self._contacts:
            contacts.reset(rows)

    def _between(self, step: int) -> None:
        """What has to happen before physics step `step`, which is not the first."""
        for forces in self._forces.values():
            forces.hand_over(step)
        for robot in self._robots:
            self._note(robot, self._steps - step)
            if robot in self.forced:
                _submit_forces(robot)
            if _pushed(robot):
                robot.write_data_to_sim()
        for body in self._bodies:
            body.data._sim_timestamp += self._dt
            if _pushed(body):
                body.write_data_to_sim()
        for contacts in self._contacts:
            contacts.read()

    def _note(self, robot: Any, left: int) -> None:
        """Torques are from velocities before the last physics step, and from positions one before that."""
        data = robot.data
        data._sim_timestamp += self._dt
        if left == 2:
            data.joint_pos  # noqa: B018 (reads it from the engine)
        elif left == 1:
            self._accelerations[robot]()  # the difference to come is over one physics step
            robot.actuators._implicit_executor.launch(robot.actuators)


def _accelerations(data: Any) -> Callable[[], Any]:
    """What brings a robot's `joint_acc` up to date as asking for it does, but with a launch that is recorded once."""
    if data.has_joint_ordering:
        return lambda: data.joint_acc
    from isaaclab_ov.assets.articulation.kernels import _fd_joint_acc

    velocity, before, acceleration = data.joint_vel.warp, data._previous_joint_vel, data._joint_acc
    arrays = [velocity, before, 1.0, acceleration.data]
    launch = wp.launch(_fd_joint_acc, velocity.shape, arrays, device=data.device, record_cmd=True)

    def update() -> None:
        data._refresh_joint_vel()
        launch.set_param_at_index(2, 1.0 / (data._sim_timestamp - acceleration.timestamp))
        launch.launch()
        acceleration.timestamp = data._sim_timestamp

    update.alive = arrays  # a recorded launch does not keep its arguments
    return update


def _pushed(asset: Any) -> bool:
    """By forces that Isaac Lab hands over."""
    return asset.permanent_wrench_composer.active or asset.instantaneous_wrench_composer.active


_DIRECT = (JointPositionAction.apply_actions, JointEffortAction.apply_actions)


def _is_direct(term: Any) -> bool:
    """The robot's buffers are those that OVPhysX takes: its joints have its order."""
    return type(term).apply_actions in _DIRECT and not term._asset.data.has_joint_ordering


class _Command:
    """Hands the command of an action term over whole: Isaac Lab's way, by index, is a kernel and ten times as long."""

    def __init__(self, term: Any) -> None:
        """Find the buffer, and for positions the engine's; forces follow in `_submit_forces`."""
        from isaaclab_ov import tensor_types

        robot, ids = term._asset, term._joint_ids
        self._term, self._columns = term, None if isinstance(ids, slice) else ids.long()
        target = robot.actuators.target_command
        self._write = None
        self._target = target.effort.torch
        if isinstance(term, JointPositionAction):
            self._target = target.position.torch
            self._write = robot._root_view.binding_for(tensor_types.DOF_POSITION_TARGET).write

    def apply_actions(self) -> None:
        """See Isaac Lab's `ActionTerm.apply_actions`."""
        command = self._term.processed_actions
        if self._columns is None:
            self._target.copy_(command)
        else:
            self._target.index_copy_(1, self._columns, command)
        if self._write:
            self._write(self._target)


def _submit_forces(robot: Any) -> None:
    """Hand over the forces at the joints, not the targets, which do not change."""
    if robot.data.has_joint_ordering:
        robot.actuators.submit_commands()
        return
    from isaaclab_ov import tensor_types

    robot._root_view.set_attribute(tensor_types.DOF_ACTUATION_FORCE, robot.actuators._joint_effort_target_sim)


class _BodyAfterBody:
    """Stands in for a binding where Isaac Lab asks for nothing but its layout: [bodies * N, D]."""

    shape = (0,)


def _lay_out(collection: Any) -> None:
    """Let a collection of as many bodies as a quantity is wide be read and written body after body, like all others.

    Isaac Lab takes a binding [bodies * N, D] for one of [N, bodies] where D is the number of bodies: velocities of six
    (`franka-stack`'s cubes) went to other envs' bodies and came from them; poses of seven would.
    """
    for owner in (collection, collection.data):
        owner._get_binding = partial(_binding, owner._get_binding, collection)


def _binding(get: Callable[[int], Any], collection: Any, tensor_type: int) -> Any:
    binding = get(tensor_type)
    if binding is None or len(binding.shape) < 2 or binding.shape[1] != collection.num_bodies:
        return binding
    collection.data._read_view_scratch(tensor_type, binding)  # which it keeps, of the right shape
    return _BodyAfterBody

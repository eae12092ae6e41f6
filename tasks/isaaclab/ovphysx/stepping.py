"""The physics of one control step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import warp as wp
from isaaclab.envs.mdp import JointEffortAction, JointPositionAction, JointVelocityAction
from isaaclab.physics import PhysicsManager
from isaaclab.sensors import BaseContactSensor
from isaaclab_ov.physics import OvPhysxManager

from tasks.core.env_state import EnvState
from tasks.isaaclab.ovphysx import layout
from tasks.isaaclab.ovphysx.commands import Command, is_direct, submit_forces
from tasks.isaaclab.ovphysx.forces import Direct
from tasks.isaaclab.ovphysx.names import HOME
from tasks.isaaclab.step_by_step import Composed

_CONSTANT = {term.apply_actions for term in (JointEffortAction, JointPositionAction, JointVelocityAction)}


def make(env: EnvState) -> Stepwise | Held:
    """The faster way on OVPhysX that is right for the env and possible with the installed libraries.

    An action term of a task's own has the attribute `constant` if its command stays that of `process_actions` until the
    next control step.
    """
    for collection in env.scene.rigid_object_collections.values():
        layout.mend(collection)
    return Held(env) if HOME.usable() and _holds(env) else Stepwise(env)


def _terms(env: EnvState) -> list[Any]:
    return [env.action_manager.get_term(name) for name in env.action_manager.active_terms]


def _holds(env: EnvState) -> bool:
    drives = [robot.actuators for robot in env.scene.articulations.values()]
    inside = all(drive._implicit_executor and not drive._execution_actuators for drive in drives)
    return inside and all(type(t).apply_actions in _CONSTANT or getattr(t, "constant", False) for t in _terms(env))


class Stepwise:
    """Isaac Lab's way on OVPhysX, by public names, with the same results as `Held`.

    Two things differ from `StepByStep`. Forces act at centres of mass. Contact sensors read every physics step, but
    their clocks move once in a control step: times of contact are whole control steps.

    Attributes:
        forced: robots whose joints are given forces. Here all commands are handed over in every step anyway.
    """

    def __init__(self, env: EnvState) -> None:
        """Sort the scene's parts."""
        self._env, scene = env, env.scene
        self.forced: set[Any] = set()
        self._robots = list(scene.articulations.values())
        self._bodies = [*scene.rigid_objects.values(), *scene.rigid_object_collections.values()]
        self._forces: dict[Any, Direct | Composed] = {}

    def advance(self) -> None:
        """See `StepByStep.advance`."""
        env, steps, dt = self._env, self._env.cfg.decimation, self._env.physics_dt
        for step in range(steps):
            for forces in self._forces.values():
                forces.hand_over(step)
            env.action_manager.apply_action()
            env.scene.write_data_to_sim()
            env.sim.step(render=False)
            for asset in (*self._robots, *self._bodies):
                asset.update(dt)
            for sensor in env.scene.sensors.values():
                sensor.update(0.0 if step < steps - 1 else steps * dt)
        for forces in self._forces.values():
            forces.clear()

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """See `LabEnv.forces`."""
        return _forces(self._forces, asset, asset in self._robots, bodies, self._env.physics_dt)

    def reset(self, env_ids: torch.Tensor) -> None:
        """See `StepByStep.reset`."""
        self._env.scene.reset(env_ids)


def _forces(
    made: dict[Any, Direct | Composed], asset: Any, robot: bool, bodies: Sequence[int], dt: float
) -> torch.Tensor:
    """The forces on `asset` [N, bodies, 3] [N], from `made` or added to it."""
    if asset not in made:
        made[asset] = Direct(asset, dt) if robot and not asset.data.has_body_ordering else Composed(asset)
    made[asset].include(bodies)
    return made[asset].on_bodies


class Held:
    """Writes each command once in a control step: OVPhysX's drives hold it.

    This needs actions whose commands are constant in a control step, and drives of the engine's own (implicit
    actuators). A target goes to the engine as it is set, so it is not handed over a second time.

    Three things happen between two physics steps. Forces are handed over, because PhysX forgets them. Contact sensors
    are read, because PhysX reports the loss of a contact in one step only. Joints are read before the last physics
    step, for torques and accelerations.

    Attributes:
        forced: robots whose joints are given forces.
    """

    def __init__(self, env: EnvState) -> None:
        """Sort the scene's parts."""
        from tasks.isaaclab.ovphysx.contacts import Contacts  # here, since it takes kernels that may be gone

        self._env, self._steps, self._dt = env, env.cfg.decimation, env.physics_dt
        scene = env.scene
        self._robots = list(scene.articulations.values())
        self._accelerations = {robot: _accelerations(robot.data) for robot in self._robots}
        self._commands = [Command(term) if is_direct(term) else term for term in _terms(env)]
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
                submit_forces(robot)
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
        """Make a physics step, as `sim.step` does. The poses of links are updated where something reads them."""
        OvPhysxManager.get_physx_instance().step_sync(dt=self._dt)
        OvPhysxManager.kinematics_dirty = True
        PhysicsManager._sim_time += self._dt

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """See `LabEnv.forces`."""
        return _forces(self._forces, asset, asset in self._robots, bodies, self._dt)

    def reset(self, env_ids: torch.Tensor) -> None:
        """See `StepByStep.reset`."""
        for part in (*self._robots, *self._bodies, *self._sensors):
            part.reset(env_ids)
        rows = self._env.rows(env_ids)
        for contacts in self._contacts:
            contacts.reset(rows)

    def _between(self, step: int) -> None:
        """Do what has to be done before physics step `step` > 0."""
        for forces in self._forces.values():
            forces.hand_over(step)
        for robot in self._robots:
            self._note(robot, self._steps - step)
            if robot in self.forced:
                submit_forces(robot)
            if _pushed(robot):
                robot.write_data_to_sim()
        for body in self._bodies:
            body.data._sim_timestamp += self._dt
            if _pushed(body):
                body.write_data_to_sim()
        for contacts in self._contacts:
            contacts.read()

    def _note(self, robot: Any, left: int) -> None:
        """Note the joints before physics step `steps - left`.

        Isaac Lab's torques come from the velocities before the last physics step, and from positions one step older.
        """
        data = robot.data
        data._sim_timestamp += self._dt
        if left == 2:
            data.joint_pos  # noqa: B018 (reads it from the engine)
        elif left == 1:
            self._accelerations[robot]()  # the difference to come is over one physics step
            robot.actuators._implicit_executor.launch(robot.actuators)


def _accelerations(data: Any) -> Callable[[], Any]:
    """A function that brings a robot's `joint_acc` up to date. Its kernel launch is recorded once."""
    if data.has_joint_ordering:
        return lambda: data.joint_acc
    from isaaclab_ov.assets.articulation.kernels import _fd_joint_acc  # here, since it may be gone

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
    """Whether Isaac Lab hands over forces on the asset."""
    return asset.permanent_wrench_composer.active or asset.instantaneous_wrench_composer.active

"""Effects of factors on the physics, through Isaac Lab's own setters, on every engine.

Isaac Lab's randomisation events draw their values themselves; here a value is given, and known per episode. What PhysX
on CUDA takes over the host only is slow: see `EpisodeEnv.rewrite_episodes`. Where `on` names bodies or joints, it is a
pattern as in Isaac Lab; an effect starts from what the scene was built with, never from what it wrote before.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch

from tasks.core.env_state import PhysicalEnv
from tasks.factors import materials
from tasks.factors.signal_effects import Effect, random_step
from tasks.spec import Factor

GRAVITY = 9.81  # [m/s²]
PUSH_S = 0.2  # [s] that a push lasts
PUSH_EVERY_S = 3.0  # [s] between the starts of two pushes, on average


class LabEffect(Effect):
    """An effect on the asset `robot` or `objects` of an Isaac Lab scene.

    `on` is `asset` or `asset:pattern`; the pattern chooses bodies or joints.
    """

    env: PhysicalEnv

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Find the asset."""
        super().__init__(env, factor)
        name, _, self.pattern = factor.on.partition(":")
        self.pattern = self.pattern or ".*"
        self.asset: Any = env.scene[name]

    def bodies(self) -> list[int]:
        """Indices of the bodies that are meant."""
        return self.asset.find_bodies(self.pattern)[0]

    def joints(self) -> torch.Tensor:
        """Indices of the joints that are meant, on the device."""
        return torch.tensor(self.asset.find_joints(self.pattern)[0], device=self.env.device, dtype=torch.int32)


class Bodies:
    """Mass [kg], inertia [kg·m²] and centre of mass [m] of an asset's bodies, in which a grade and factors have a part.

    Each of them sets its own part; what the engine gets is the body as built, times the grade's part, then the
    factors'. At the end of a reset the rows that came out different are handed over, and no others.

    Attributes:
        scale: what factors multiply masses and inertias with [N, bodies].
        added: point masses at the centres of mass [N, bodies] [kg].
        shift: of the centres of mass along the bodies' x axes [N, bodies] [m].
        masses_set: whether `scale` or `added` was set in this reset.
        centres_set: whether `shift` was.
    """

    def __init__(self, env: PhysicalEnv, asset: Any) -> None:
        """Read the bodies as built."""
        data, self._asset = asset.data, asset
        self._mass, self._inertia = data.body_mass.torch.clone(), data.body_inertia.torch.clone()
        with warnings.catch_warnings(action="ignore"):  # Newton warns that its orientations mean nothing
            self._com = data.body_com_pose_b.torch.clone()
        self._written = {"masses": self._mass, "inertias": self._inertia, "coms": self._com}
        ones = torch.ones_like(self._mass)
        self._graded = torch.stack((ones, ones))  # mass and size, as factors
        self.scale, self.added, self.shift = ones.clone(), torch.zeros_like(ones), torch.zeros_like(ones)
        self.masses_set = self.centres_set = False
        env.after_reset.append(self.write)

    def grade(self, env_ids: torch.Tensor, body: int, mass: torch.Tensor, size: torch.Tensor) -> None:
        """Let `body` weigh `mass` [k] and measure `size` [k] times what it does as built, in rows `env_ids` [k].

        All its lengths are seen from the origin of its frame. The shapes that touch others stay what they are. Waits
        for the device, to see whether anything changes: handing it over takes longer.
        """
        graded = torch.stack((mass, size))
        if not graded.equal(self._graded[:, env_ids, body]):
            self._graded[:, env_ids, body] = graded
            self.masses_set = self.centres_set = True

    def write(self) -> None:
        """Hand over the rows that changed since the last time. Waits for the device if any may have."""
        if not (self.masses_set or self.centres_set):
            return
        mass, size = self._graded
        wanted = {}
        if self.centres_set:
            coms = self._com.clone()
            coms[..., :3] *= size[..., None]
            coms[..., 0] += self.shift
            wanted["coms"] = coms
        wanted["masses"] = self._mass * mass * self.scale + self.added
        # After the centres: PhysX keeps the axes of inertia with them, and chooses new ones for a new inertia.
        wanted["inertias"] = self._inertia * (mass * size.square() * self.scale)[..., None]
        changed = torch.stack([(value != self._written[name]).flatten(1).any(1) for name, value in wanted.items()])
        rows = changed.any(0).nonzero().squeeze(-1).int()
        if len(rows):
            for name, value in wanted.items():
                getattr(self._asset, f"set_{name}_index")(**{name: value[rows]}, env_ids=rows)
            self._written.update(wanted)
        self.masses_set = self.centres_set = False


class BodyEffect(LabEffect):
    """An effect on what bodies weigh and where."""

    slow = True

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Find the bodies."""
        super().__init__(env, factor)
        self.body = torch.tensor(self.bodies(), device=env.device)
        self.inertial = env.shared(Bodies, self.asset)


class Mass(BodyEffect):
    """Bodies have `value` times their mass, and of their inertia."""

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """See `Effect.start`."""
        self.inertial.scale[env_ids[:, None], self.body] = value[:, None]
        self.inertial.masses_set = True


class Payload(BodyEffect):
    """A point mass of `value` [kg] sits at the centre of mass of a body."""

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """See `Effect.start`."""
        self.inertial.added[env_ids[:, None], self.body] = value[:, None]
        self.inertial.masses_set = True


class Load(Payload):
    """A payload whose weight is felt by a robot that gravity does not pull: one that compensates its own weight."""

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Find the body."""
        super().__init__(env, factor)
        link = self.bodies()[0]
        self._up = env.forces(self.asset, [link])[:, link, 2]

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        self._up.sub_(self.value, alpha=GRAVITY)
        return action


class CentreOfMass(BodyEffect):
    """The centre of mass of a body is `value` [m] further along its x axis."""

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """See `Effect.start`."""
        self.inertial.shift[env_ids[:, None], self.body] = value[:, None]
        self.inertial.centres_set = True


class Friction(LabEffect):
    """All surfaces of the assets `on` (comma-separated) have `value` times their coefficient of friction."""

    slow = True

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Read the surfaces as built."""
        Effect.__init__(self, env, factor)
        self._surfaces = [env.shared(materials.surfaces, env.scene[name]) for name in factor.on.split(",")]

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """See `Effect.start`."""
        for surfaces in self._surfaces:
            surfaces.friction[env_ids] = value
            surfaces.write(env_ids)


class Restitution(Friction):
    """All surfaces of the assets `on` (comma-separated) have the coefficient of restitution `value`."""

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """See `Effect.start`."""
        for surfaces in self._surfaces:
            surfaces.restitution[env_ids] = value
            surfaces.write(env_ids)


class JointProperty(LabEffect):
    """A property of joints, from its default [k, joints] and the value [k]."""

    slow = True
    read = ""  # of the asset's data
    write = ""  # of the asset's setters, and its argument
    argument = ""

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Keep the property as built."""
        super().__init__(env, factor)
        self._joints = self.joints()
        self._default = getattr(self.asset.data, self.read).torch[:, self._joints.long()].clone()

    def combine(self, default: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The property to write."""
        return default * value

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """See `Effect.start`."""
        written = self.combine(self._default[env_ids], value[:, None])
        setter = getattr(self.asset, self.write)
        setter(**{self.argument: written}, joint_ids=self._joints, env_ids=env_ids)


class Strength(JointProperty):
    """Joints have `value` times their effort limit."""

    read, write, argument = "joint_effort_limits", "write_joint_effort_limit_to_sim_index", "limits"


class Armature(JointProperty):
    """Joints have `value` times their armature, the inertia of the rotors."""

    read, write, argument = "joint_armature", "write_joint_armature_to_sim_index", "armature"


class Stiffness(JointProperty):
    """Drives have `value` times their position gain."""

    read, write, argument = "joint_stiffness", "write_joint_stiffness_to_sim_index", "stiffness"


class Damping(JointProperty):
    """Drives have `value` times their velocity gain; where they have no other, that is the joints' damping."""

    read, write, argument = "joint_damping", "write_joint_damping_to_sim_index", "damping"


class AddedDamping(Damping):
    """Joints have `value` [N·m·s/rad] ([N·s/m]) more damping."""

    def combine(self, default: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """See `JointProperty.combine`."""
        return default + value


class Gravity(LabEffect):
    """All bodies weigh `value` times as much; their mass is what it was. Per env, which no engine's gravity is."""

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Find the bodies."""
        super().__init__(env, factor)
        self._up = env.forces(self.asset, range(self.asset.num_bodies))[..., 2]

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        self._up.addcmul_(self.asset.data.body_mass.torch, self.value[:, None] - 1.0, value=-GRAVITY)
        return action


class Push(LabEffect):
    """Now and then a horizontal force of `value` [N] in a random direction pushes a body for 0.2 s."""

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Find the body."""
        super().__init__(env, factor)
        body = self.bodies()[0]
        self._force = env.forces(self.asset, [body])[:, body, :2]
        self._steps = max(1, round(PUSH_S / env.spec.control_dt))
        self._chance = env.spec.control_dt / PUSH_EVERY_S
        self._left, self._angle = torch.zeros(2, env.num_envs, device=env.device).unbind()  # control steps, rad

    def begin(self, rows: torch.Tensor) -> None:
        """See `Effect.begin`."""
        self._left.masked_fill_(rows, 0.0)

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        chance, turn = self.env.draws.uniform(self.factor.name, 2, of_step=True).unbind(dim=1)
        begins = (self._left <= 0.0) & (chance < self._chance)
        self._angle.copy_(torch.where(begins, 2.0 * math.pi * turn, self._angle))
        self._left.masked_fill_(begins, self._steps)
        push = torch.polar(self.value * (self._left > 0.0), self._angle)
        self._force.add_(torch.view_as_real(push))
        self._left -= 1.0
        return action


class TorqueStep(LabEffect):
    """From a random time of the episode on, each joint feels a torque of `value` [N·m], either way."""

    def __init__(self, env: PhysicalEnv, factor: Factor) -> None:
        """Find the joints."""
        super().__init__(env, factor)
        self._joints = self.joints().long()
        env.force_joints(self.asset)
        self._target = self.asset.actuators.target_command.effort.torch  # where Isaac Lab's setter writes, by a kernel
        self._torque = torch.zeros(env.num_envs, len(self._joints), device=env.device)
        self._countdown = torch.zeros(env.num_envs, device=env.device)

    def begin(self, rows: torch.Tensor) -> None:
        """See `Effect.begin`."""
        sign, start = random_step(self, self._torque.shape[1])
        self._torque.copy_(torch.where(rows[:, None], self.value[:, None] * sign, self._torque))
        self._countdown.copy_(torch.where(rows, start, self._countdown))

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        self._countdown -= 1.0
        torque = self._torque * (self._countdown < 0.0)[:, None]
        self._target.index_copy_(1, self._joints, torque)
        return action

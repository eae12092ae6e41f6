"""What a task declares, in plain data: reading it starts no simulator and imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import zip_longest
from typing import Any, Literal

GRADES = ("g1", "g2", "g3", "g4", "g5")
RANDOMIZATION_LEVELS = ("r0", "r1", "r2", "r3")


def difficulty_of(grade: str) -> float:
    """Difficulty in [0, 1] of a rung: g1 is 0.0, g5 is 1.0. Raises `ValueError` for any other name."""
    if grade not in GRADES:
        raise ValueError(f"unknown grade {grade!r}; valid: {', '.join(GRADES)}")
    return GRADES.index(grade) / (len(GRADES) - 1)


@dataclass(frozen=True)
class GradeParam:
    """One quantity that the grade moves: its value at g1..g5, linear between two rungs."""

    values: tuple[float, float, float, float, float]
    unit: str
    doc: str

    def at(self, difficulty: Any) -> Any:
        """Value at `difficulty` in [0, 1]: a tensor of any shape, or a number."""
        rungs = len(self.values) - 1
        value = 0.0 * difficulty + self.values[0]
        for k in range(rungs):  # a sum of ramps: no indexing, so the same line serves floats and tensors
            ramp = difficulty * rungs - k
            ramp = ramp.clamp(0.0, 1.0) if hasattr(ramp, "clamp") else min(max(ramp, 0.0), 1.0)
            value = value + (self.values[k + 1] - self.values[k]) * ramp
        return value


@dataclass(frozen=True)
class Factor:
    """One randomisable quantity, constant in an episode.

    `ranges` holds (low, high) for each training level that moves it; a factor with none is held out: it is seen in
    evaluations only. `effect` names what carries it out (see `tasks.factors.registry`), and `on` the part
    that it acts on, in the effect's own terms. Raises `ValueError` for ranges that make no sense.
    """

    name: str
    category: Literal["visual", "physical", "dynamics", "sensor", "disturbance"]
    unit: str
    nominal: float
    ranges: Mapping[str, tuple[float, float]]
    evaluation: tuple[float, float]
    effect: str
    on: str = ""
    lowest: float = -math.inf  # physically possible from here on
    doc: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be sampled or cannot exist."""
        for name, (low, high) in {**self.ranges, "evaluation": self.evaluation}.items():
            if name != "evaluation" and name not in RANDOMIZATION_LEVELS[1:]:
                raise ValueError(f"factor {self.name}: unknown level {name!r}; valid: r1, r2, r3")
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"factor {self.name}: range {name} is ({low}, {high}); low has to be below high")
            if low < self.lowest:
                raise ValueError(f"factor {self.name}: range {name} starts at {low}, possible is {self.lowest} or more")
        low, high = self.evaluation
        if not low <= self.nominal <= high:
            raise ValueError(f"factor {self.name}: nominal value {self.nominal} is outside evaluation ({low}, {high})")
        for name, (low, high) in self.ranges.items():
            if low < self.evaluation[0] or high > self.evaluation[1]:
                raise ValueError(f"factor {self.name}: range {name} reaches beyond evaluation {self.evaluation}")

    @property
    def held_out(self) -> bool:
        """True where no training level moves the factor."""
        return not self.ranges


@dataclass(frozen=True)
class Term:
    """A block of an observation or action vector: its width, unit and meaning.

    `sigma` is the standard deviation of a usual sensor's noise, in units of the vector; 0 for what is known exactly.
    """

    name: str
    dim: int
    unit: str
    doc: str = ""
    sigma: float = 0.0


@dataclass(frozen=True)
class SafetyLimit:
    """A bound that a robot should not cross. Crossing it ends nothing; the steps over it are counted per episode."""

    value: float
    unit: str
    doc: str


@dataclass(frozen=True)
class View:
    """Where pictures of a task are taken from: positions [m] in the frame of the env, or of its robot's base."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    follow: bool = False  # whether both move with the robot's base
    marks: str = ""  # `module:function` with what to draw into them besides, see `tasks.isaaclab.camera.Mark`
    size: tuple[int, int] | None = None  # width and height [px] of an env that takes pictures; see `TaskSpec.pictured`


PARTING_CONTACTS = dict.fromkeys(
    ("ovphysx", "isaacsim_physx"), "PhysX does not repeat this task's contacts bit for bit, on a CPU either"
)
"""`TaskSpec.inexact` of tasks on which two simulations from one seed were seen to part at a contact."""


@dataclass(frozen=True)
class TaskSpec:
    """A task: robot, scene, MDP and one success criterion. Actions are in [-1, 1] for every task.

    `make_env` names the function (`module:function`) that builds the env; it is imported on use.
    """

    name: str
    summary: str
    robot: str
    engines: tuple[str, ...]
    make_env: str
    observations: tuple[Term, ...]
    actions: tuple[Term, ...]
    physics_dt: float  # [s]
    decimation: int  # physics steps per control step
    episode_length_s: float  # [s]
    success: str  # what has to hold, in words
    success_hold_s: float  # [s] for how long it has to hold without a break
    success_when: Literal["end", "once"]  # an episode succeeds if it holds at its end, or at any time
    grades: Mapping[str, GradeParam]
    budgets: Mapping[str, int]  # env steps of a training at each budget
    not_on: Mapping[str, str] = field(default_factory=dict)  # why not on an engine that is not among `engines`
    view: View = View(eye=(2.0, 2.0, 1.5), target=(0.0, 0.0, 0.5))
    critic_observations: tuple[Term, ...] = ()  # what only a critic may see; follows `observations` in the obs vector
    sensors: tuple[str, ...] = ()  # Isaac Lab sensors that observations, rewards or safety read
    safety: Mapping[str, SafetyLimit] = field(default_factory=dict)
    factors: tuple[Factor, ...] = ()
    discrete_actions: tuple[tuple[float, ...], ...] = ()  # the action set that a discrete agent chooses from
    assets: tuple[str, ...] = field(default=())
    inexact: Mapping[str, str] = field(default_factory=dict)  # engine: why even a CPU may not repeat a simulation on it

    def __post_init__(self) -> None:
        """Refuse declarations that contradict themselves, at import."""
        for row in self.discrete_actions:
            if len(row) != self.action_dim:
                raise ValueError(f"{self.name}: a discrete action has {len(row)} values, the action {self.action_dim}")
        if missing := {"smoke", "quick", "full"} - set(self.budgets):
            raise ValueError(f"{self.name}: no env steps declared for budget {', '.join(sorted(missing))}")
        if len({factor.name for factor in self.factors}) < len(self.factors):
            raise ValueError(f"{self.name}: two factors have the same name")

    @property
    def policy_dim(self) -> int:
        """Width of what a policy sees: the first columns of the observation vector."""
        return sum(term.dim for term in self.observations)

    @property
    def obs_dim(self) -> int:
        """Width of the observation vector: what a policy sees, then what only a critic may see."""
        return self.policy_dim + sum(term.dim for term in self.critic_observations)

    @property
    def action_dim(self) -> int:
        """Width of the action vector."""
        return sum(term.dim for term in self.actions)

    @property
    def control_dt(self) -> float:
        """Time between two actions [s]."""
        return self.physics_dt * self.decimation

    @property
    def max_episode_steps(self) -> int:
        """Control steps after which an episode is truncated."""
        return round(self.episode_length_s / self.control_dt)

    @property
    def success_hold_steps(self) -> int:
        """Consecutive control steps for which the success condition has to hold (at least 1)."""
        return max(1, round(self.success_hold_s / self.control_dt))

    def agree(self, block: str, built: Sequence[tuple[str, int]]) -> None:
        """Raise `RuntimeError` unless `built`, names and widths of terms in order, is what the field `block` declares.

        Noise, calibration and joint tasks find a term's columns by the declaration.
        """
        declared = [(term.name, term.dim) for term in getattr(self, block)]
        for k, (of_env, of_spec) in enumerate(zip_longest(built, declared)):
            if of_env != of_spec:
                env, spec = (f"{term[0]} [{term[1]}]" if term else "nothing" for term in (of_env, of_spec))
                raise RuntimeError(f"{self.name}: term {k} of {block} is {env} as built, and declared is {spec}")

    def pictured(self, width: int, height: int) -> TaskSpec:
        """The same task with a camera: its env has `picture()`."""
        return replace(self, view=replace(self.view, size=(width, height)))

    def build(self, num_envs: int, device: str, engine: str, recorded: bool = True, difficulty: float = 0.0) -> Any:
        """Build the env: `tasks.build(self, ...)`."""
        build = import_module("tasks.core.build").build  # by name, since it stands above the declarations
        return build(self, num_envs, device, engine, recorded, difficulty)


def axis_actions(dim: int) -> tuple[tuple[float, ...], ...]:
    """The discrete action set "nothing, or plus or minus full scale along one axis": 2 * dim + 1 rows."""
    rows = [tuple(0.0 for _ in range(dim))]
    for axis in range(dim):
        for sign in (1.0, -1.0):
            rows.append(tuple(sign if i == axis else 0.0 for i in range(dim)))
    return tuple(rows)

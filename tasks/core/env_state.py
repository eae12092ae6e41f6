"""What the parts of an env see of it, as protocols, and the state that a task declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from tasks.core.draws import Draws
from tasks.spec import TaskSpec


class FactoredEnv(Protocol):
    """What an effect of a factor gets as `env`. See `tasks.core.episodes.EpisodeEnv` for the attributes."""

    spec: TaskSpec
    num_envs: int
    device: torch.device
    factors: torch.Tensor
    draws: Draws


class PhysicalEnv(FactoredEnv, Protocol):
    """What an effect on the physics gets as `env`. See `tasks.isaaclab.lab_env.LabEnv`."""

    runtime: Any  # of the engine, a `tasks.isaaclab.runtime.Runtime`
    after_reset: list[Callable[[], None]]

    @property
    def scene(self) -> Any:
        """Isaac Lab's scene."""
        ...

    @property
    def physics_manager(self) -> Any:
        """Isaac Lab's handle of the engine."""
        ...

    def shared(self, kind: Callable[..., Any], asset: Any) -> Any:
        """The one `kind(env, asset)`, which several effects use."""
        ...

    def forces(self, asset: Any, bodies: Sequence[int]) -> torch.Tensor:
        """What acts on all bodies of `asset` in the coming control step [N, bodies, 3] [N], to be added to."""
        ...

    def force_joints(self, asset: Any) -> None:
        """Let the joints of `asset` be given forces."""
        ...


class EnvState(Protocol):
    """What a task's terms get as `env`: the state of the simulation and of the episodes.

    The class is `tasks.isaaclab.lab_env.GradedEnv`, an Isaac Lab env. The attributes without a comment are Isaac Lab's.
    """

    task: TaskSpec  # the task's declaration (`spec` is Gymnasium's)
    runtime: Any  # of the engine, a `tasks.isaaclab.runtime.Runtime`
    draws: Draws  # what episodes draw at random
    difficulty: torch.Tensor  # [N] of the episodes now running, in [0, 1]
    success: torch.Tensor  # [N] bool, after the last step
    violations: dict[str, torch.Tensor]  # name of a safety limit to [N] bool, crossed in the last step
    recording: bool  # whether parts of a step are CUDA graphs, see `tasks.cuda.record`
    divergence: Any  # a `tasks.isaaclab.divergence.Watch`, or None
    cfg: Any
    scene: Any
    sim: Any
    action_manager: Any
    command_manager: Any
    observation_manager: Any
    episode_length_buf: torch.Tensor
    _now: dict[tuple[Any, ...], Any]

    @property
    def num_envs(self) -> int:
        """N."""
        ...

    @property
    def device(self) -> Any:
        """Where tensors live."""
        ...

    @property
    def physics_dt(self) -> float:
        """Time of a physics step [s]."""
        ...

    @property
    def step_dt(self) -> float:
        """Time of a control step [s]."""
        ...

    @property
    def max_episode_length(self) -> int:
        """Control steps."""
        ...

    def param(self, name: str, env_ids: torch.Tensor | slice = ...) -> torch.Tensor:
        """Value of the declared grade parameter in rows `env_ids`: [k]."""
        ...

    def now(self, quantity: Callable[..., Any], *args: Any) -> Any:
        """`quantity(self, *args)`, computed once for all who ask for it in one state of the simulation."""
        ...

    def once(self, constant: Callable[..., Any], *args: Any) -> Any:
        """`constant(self, *args)`, computed at its first use and kept for good."""
        ...

    def constant(self, numbers: tuple[Any, ...]) -> torch.Tensor:
        """The numbers on the device, copied there once."""
        ...

    def rows(self, env_ids: torch.Tensor, /) -> torch.Tensor:
        """`env_ids` [k] as long."""
        ...

    def joint_ids(self, pattern: str) -> torch.Tensor | slice:
        """What selects the joints that match `pattern`, on the device."""
        ...

    def shared(self, kind: Callable[..., Any], asset: Any, /) -> Any:
        """The one `kind(env, asset)`, which effects of factors use as well."""
        ...

    def hold(self, condition: torch.Tensor, /) -> torch.Tensor:
        """Success now [N]: `condition` has held for the declared time without a break. Once a step."""
        ...


def episode_state[T](initial: Callable[[EnvState], T]) -> Callable[[EnvState], T]:
    """Declare a state of the episodes, such as a goal: a function of the env that gives its tensors.

    The decorated function makes them for all rows when somebody first asks, which the observation manager does before
    the first reset. They stay the same tensors; resets write rows into them.
    """

    def state(env: EnvState) -> T:
        return env.once(initial)

    state.__doc__, state.__name__, state.__module__ = initial.__doc__, initial.__name__, initial.__module__
    return state

"""Effects of factors on what a policy sees and does: delays, noise, dropout. Torch alone, for every engine.

An effect carries out one factor. It never waits for the device, and draws from the env's `draws`. What it keeps from
step to step stays in the same tensors, so that a CUDA graph can hold what it does.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from tasks.core.env_state import FactoredEnv
from tasks.factors import registry
from tasks.spec import Factor


class Effect:
    """What one factor does to an env.

    Attributes:
        slow: PhysX on CUDA takes it over the host; see `EpisodeEnv.rewrite_episodes`.
    """

    slow = False

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """The factor is nominal everywhere."""
        self.env, self.factor = env, factor
        self._column = env.spec.factors.index(factor)

    @property
    def value(self) -> torch.Tensor:
        """The factor in the episodes now running [N]."""
        return self.env.factors[:, self._column]

    def begin(self, rows: torch.Tensor) -> None:
        """New episodes begin in `rows` [N] bool; `value` is theirs already. For what the effect itself remembers."""

    def start(self, env_ids: torch.Tensor, value: torch.Tensor) -> None:
        """New episodes begin in rows `env_ids` [k] with `value` [k]. For what is handed to an engine."""

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """What the robot does of `action` [N, action_dim], once a control step."""
        return action

    def measure(self, obs: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """What the policy sees of `obs` [N, policy_dim]; rows in `fresh` [N] bool are at an episode's start."""
        return obs

    def measure_final(self, obs: torch.Tensor) -> torch.Tensor:
        """What the policy saw of the last `obs` [N, policy_dim] of an episode. Called before `begin` and `measure`."""
        return obs


def build(env: FactoredEnv, moving: Collection[str] | None = None) -> list[tuple[int, Effect]]:
    """The effects of the factors named by `moving` (all of the task's by default), each with its column.

    Factors without an effect are read by the task itself.
    """
    built = []
    for column, factor in enumerate(env.spec.factors):
        if factor.effect and (moving is None or factor.name in moving):
            built.append((column, registry.load(factor.effect)(env, factor)))
    return built


def random_step(effect: Effect, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random signs [N, width], and the control step [N] of an episode from which on they count."""
    draws, name = effect.env.draws, effect.factor.name
    sign = torch.where(draws.uniform(f"{name}.sign", width) < 0.5, -1.0, 1.0)
    return sign, draws.uniform(f"{name}.start") * effect.env.spec.max_episode_steps


def _columns(env: FactoredEnv, name: str) -> torch.Tensor:
    """1 in the columns of the observation that belong to the term `name`, 0 elsewhere [policy_dim]."""
    return torch.cat(
        [torch.full((term.dim,), float(term.name == name), device=env.device) for term in env.spec.observations]
    )


def _sigma(env: FactoredEnv) -> torch.Tensor:
    """Standard deviation of a usual sensor's noise in each column [policy_dim]."""
    return torch.cat([torch.full((term.dim,), term.sigma, device=env.device) for term in env.spec.observations])


class _Delay:
    """The last `longest` + 1 rows of a signal [N, D], and reading them some steps [N] back, see `whole`."""

    def __init__(self, longest: float, num_envs: int, dim: int, device: torch.device) -> None:
        self._past = torch.zeros(round(longest) + 1, num_envs, dim, device=device)
        self._rows = torch.arange(num_envs, device=device)

    def clear(self, rows: torch.Tensor) -> None:
        """Let rows [N] bool have had zeros for ever."""
        self._past.masked_fill_(rows[:, None], 0.0)

    def fill(self, rows: torch.Tensor, signal: torch.Tensor) -> None:
        """Let rows [N] bool have had `signal` for ever."""
        self._past.copy_(torch.where(rows[:, None], signal, self._past))

    def push(self, signal: torch.Tensor) -> None:
        self._past.copy_(self._with(signal))

    def whole(self, steps: torch.Tensor) -> torch.Tensor:
        """`steps` [N] as whole numbers within the line's length."""
        return steps.round().clamp(0.0, len(self._past) - 1.0).long()

    def read(self, steps: torch.Tensor) -> torch.Tensor:
        return self._past[steps, self._rows]

    def peek(self, signal: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """What `read` would give after `push`."""
        return self._with(signal)[steps, self._rows]

    def _with(self, signal: torch.Tensor) -> torch.Tensor:
        return torch.cat((signal[None], self._past[:-1]))


class ActionDelay(Effect):
    """Actions arrive `value` control steps late; zeros come before the first."""

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._line = _Delay(factor.evaluation[1], env.num_envs, env.spec.action_dim, env.device)

    def begin(self, rows: torch.Tensor) -> None:
        """See `Effect.begin`."""
        self._line.clear(rows)

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        self._line.push(action)
        return self._line.read(self._line.whole(self.value))


class ActionScale(Effect):
    """Actions have `value` times their effect: a weaker or stronger motor, where actions are forces or torques."""

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        return action * self.value[:, None]


class ActionStep(Effect):
    """From a random time of the episode on, a constant of random direction is added to the action.

    `value` is its size along each axis, in units of the action; where actions are torques, that is a torque step.
    """

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._step = torch.zeros(env.num_envs, env.spec.action_dim, device=env.device)
        self._countdown = torch.zeros(env.num_envs, device=env.device)

    def begin(self, rows: torch.Tensor) -> None:
        """See `Effect.begin`."""
        sign, start = random_step(self, self._step.shape[1])
        self._step.copy_(torch.where(rows[:, None], self.value[:, None] * sign, self._step))
        self._countdown.copy_(torch.where(rows, start, self._countdown))

    def act(self, action: torch.Tensor) -> torch.Tensor:
        """See `Effect.act`."""
        self._countdown -= 1.0
        return action + self._step * (self._countdown < 0.0)[:, None]


class SensorNoise(Effect):
    """White Gaussian noise in every observation of the policy, with `value` times the `sigma` of its term."""

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._sigma = _sigma(env)

    def measure(self, obs: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure`."""
        return self.measure_final(obs)

    def measure_final(self, obs: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure_final`."""
        noise = self.env.draws.normal(self.factor.name, obs.shape[1], of_step=True)
        return obs + self.value[:, None] * self._sigma * noise


class SensorBias(Effect):
    """A constant Gaussian error of every observation of the policy, with `value` times the `sigma` of its term."""

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._scale = _sigma(env)
        self._error = torch.zeros(env.num_envs, env.spec.policy_dim, device=env.device)

    def begin(self, rows: torch.Tensor) -> None:
        """See `Effect.begin`."""
        error = self.value[:, None] * self._scale * self._draw(len(self._scale))
        self._error.copy_(torch.where(rows[:, None], error, self._error))

    def _draw(self, width: int) -> torch.Tensor:
        return self.env.draws.normal(self.factor.name, width)

    def measure(self, obs: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure`."""
        return obs + self._error

    def measure_final(self, obs: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure_final`."""
        return obs + self._error


class Calibration(SensorBias):
    """Each element of the observation `on` is off by a constant, uniform up to `value`: joint zeros, say."""

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._scale = _columns(env, factor.on)
        if not self._scale.any():
            raise ValueError(f"{env.spec.name}: factor {factor.name} is on {factor.on!r}, which is no observation")

    def _draw(self, width: int) -> torch.Tensor:
        return self.env.draws.within(self.factor.name, width)


class SensorDelay(Effect):
    """Observations of the policy arrive `value` control steps late."""

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._line = _Delay(factor.evaluation[1], env.num_envs, env.spec.policy_dim, env.device)

    def measure(self, obs: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure`."""
        self._line.fill(fresh, obs)
        self._line.push(obs)
        return self._line.read(self._line.whole(self.value))

    def measure_final(self, obs: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure_final`."""
        return self._line.peek(obs, self._line.whole(self.value))


class SensorDropout(Effect):
    """Each observation of the policy is missed with probability `value`; the one before it stands in."""

    def __init__(self, env: FactoredEnv, factor: Factor) -> None:
        """See `Effect`."""
        super().__init__(env, factor)
        self._last = torch.zeros(env.num_envs, env.spec.policy_dim, device=env.device)

    def measure(self, obs: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure`."""
        self._last.copy_(torch.where(fresh[:, None], obs, self.measure_final(obs)))
        return self._last.clone()

    def measure_final(self, obs: torch.Tensor) -> torch.Tensor:
        """See `Effect.measure_final`."""
        missed = self.env.draws.uniform(self.factor.name, of_step=True) < self.value
        return torch.where(missed[:, None], self._last, obs)

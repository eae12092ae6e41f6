"""Starting a training from another run's policy: whether its networks fit, and loading them. Checks import no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from baselines.algorithms import registry as algorithms
from baselines.policy_header import PolicyError, read
from tasks.spec import TaskSpec

if TYPE_CHECKING:
    from baselines.learner.learners import Learner


class WarmStartError(ValueError):
    """A policy that a training cannot start from; the message is the reason, in one line."""


def check(path: Path, spec: TaskSpec, algo: str, cfg: DictConfig) -> None:
    """Raise `WarmStartError` unless the policy in `path` is what `algo` with `cfg` would train on the task."""
    try:
        header, tensors = read(path)
    except PolicyError as error:
        raise WarmStartError(str(error)) from None
    for name, wanted in _expected(spec, algo, cfg).items():
        found = [list(layer) for layer in header.layers] if name == "layers" else getattr(header, name, None)
        if found != wanted:
            raise WarmStartError(f"{path} does not fit {algo} on {spec.name}: its {name} is {found}, expected {wanted}")
    if cfg.obs_norm != ("obs_mean" in tensors):
        with_or_without = "with" if "obs_mean" in tensors else "without"
        raise WarmStartError(f"{path} was trained {with_or_without} obs_norm; set agent.obs_norm the same")


def load(learner: Learner, path: Path, observations: int) -> None:
    """Give the learner the actor (or the Q network) and the statistics of observations of the policy in `path`.

    `observations`: how many the statistics count as, so that the first rollout does not wipe them out. Critics and
    optimisers start afresh; target networks follow what was loaded.
    """
    from safetensors.torch import load_file
    from torch import nn

    from baselines.tianshou import private

    tensors = load_file(path, device=str(learner.env.device))
    net = {key.removeprefix("net."): value for key, value in tensors.items() if key.startswith("net.")}
    nn.Sequential(*learner.algorithm.policy.layers()).load_state_dict(net)
    private.update_targets(learner.algorithm)
    if learner.norm is not None:
        seen = len(tensors["obs_mean"])
        learner.norm.mean[:seen] = tensors["obs_mean"]
        learner.norm.var[:seen] = tensors["obs_var"]
        if seen < learner.env.spec.obs_dim:  # what only critics see has no statistics in the file: it needs them soon
            observations = min(observations, learner.steps_per_iteration)
        learner.norm.count.fill_(observations)


def _expected(spec: TaskSpec, algo: str, cfg: DictConfig) -> dict[str, Any]:
    """What the header of the policy file has to say; see `baselines.policy_file.save_policy`."""
    layers: list[list[Any]] = []
    width = spec.policy_dim
    for size in cfg.hidden_sizes:
        layers += [["linear", width, size], *([["layer_norm", size]] if cfg.layer_norm else []), [cfg.activation]]
        width = size
    definition = algorithms.get(algo)
    if definition.discrete:
        return {"kind": "discrete", "layers": [*layers, ["linear", width, len(spec.discrete_actions)]]}
    squash = "tanh" if definition.squashed(cfg) else "clip"
    return {"kind": "mlp", "squash": squash, "layers": [*layers, ["linear", width, spec.action_dim]]}

"""Learning on `toy-reach` at equal samples: ours against stock Tianshou with the same settings.

    python -m benchmarks.learning_vs_stock --seeds 5

Both sides have the same networks, hyper-parameters, exploration and number of env steps, and train at g2. Stock has
its own collector, buffer, NumPy returns and `VectorEnvNormObs`. The table holds return and success rate of the
deterministic policy in 256 episodes at g2, mean ± standard deviation over seeds, and p of the one-sided
Mann-Whitney test that stock's returns are larger.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from scipy.stats import mannwhitneyu
from tianshou.algorithm import Algorithm
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import VectorEnvNormObs
from tianshou.exploration import BaseNoise
from tianshou.utils.torch_utils import policy_within_training_step

import baselines
import tasks
from baselines import config
from baselines.learner.learners import make_learner
from baselines.policy_file import Policy, load_policy
from baselines.tianshou.agents import action_table
from tasks.core.env import TensorEnv
from tasks.spec import difficulty_of
from tests.helpers.stock import StockVecEnv, make_stock_agent

SPEC = tasks.get("toy-reach")
GRADE = difficulty_of("g2")
STEPS = {"ppo": 32_768, "a2c": 65_536, "trpo": 40_960, "npg": 49_152}
OFF_POLICY_STEPS = 20_480


def settings(algo: str) -> DictConfig:
    cfg = config.load(algo, SPEC.name, "smoke")
    return OmegaConf.merge(cfg, {"desired_kl": None}) if algo == "ppo" else cfg  # stock's rate is constant


def build_env(num_envs: int) -> TensorEnv:
    env = SPEC.build(num_envs, "cpu", "torch")
    env.set_sampler(lambda env_ids: torch.full((len(env_ids),), GRADE))
    return env


def train_ours(algo: str, cfg: DictConfig, seed: int, steps: int, scratch: Path) -> Policy:
    learner = make_learner(algo, build_env(cfg.num_envs), cfg, seed, teacher=None)
    while learner.env_steps < steps:
        learner.iterate()
    learner.export(scratch)
    return load_policy(scratch, "cpu")


class MixedNoise(BaseNoise):
    """Another standard deviation in every env."""

    def __init__(self, low: float, high: float, num_envs: int) -> None:
        super().__init__()
        self._std = np.linspace(low, high, num_envs)[:, None]

    def reset(self) -> None:
        """Draws do not depend on each other."""

    def __call__(self, size: Any) -> np.ndarray:
        return self._std * np.random.standard_normal(size)


def mixed_epsilon(policy: DiscreteQLearningPolicy, cfg: DictConfig) -> None:
    """Let every env explore with another epsilon."""
    epsilon = np.geomspace(cfg.epsilon_max, cfg.epsilon_min, cfg.num_envs)

    def explore(act: np.ndarray, batch: Batch) -> np.ndarray:
        random = np.random.randint(policy.action_space.n, size=len(act))
        return np.where(np.random.rand(len(act)) < epsilon, random, act)

    policy.add_exploration_noise = explore


def train_stock(algo: str, cfg: DictConfig, seed: int, steps: int, scratch: Path) -> Policy:
    np.random.seed(seed)
    torch.manual_seed(seed)
    env = build_env(cfg.num_envs)
    algorithm = make_stock_agent(algo, env, cfg)
    table = action_table(algo, env)
    venv = StockVecEnv(env, table, cfg.reward_scale)
    venv.seed(seed)
    normed = VectorEnvNormObs(venv)
    if "buffer_size" in cfg:
        _stock_off_policy(algorithm, normed, cfg, steps)
    else:
        _stock_on_policy(algorithm, normed, cfg, steps)
    stats, policy = normed.get_obs_rms(), algorithm.policy

    def act(obs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            chosen = policy(Batch(obs=stats.norm(obs.numpy()).astype(np.float32), info={})).act
        return chosen.clamp(-1, 1) if table is None else table[chosen]

    return act


def _stock_on_policy(algorithm: Algorithm, venv: VectorEnvNormObs, cfg: DictConfig, steps: int) -> None:
    size = cfg.num_envs * cfg.horizon
    collector = Collector(algorithm, venv, VectorReplayBuffer(size, cfg.num_envs))
    collector.reset()
    for _ in range(0, steps, size):
        with policy_within_training_step(algorithm.policy):
            collector.collect(n_step=size)
            algorithm.update(collector.buffer, batch_size=size // cfg.minibatches, repeat=cfg.epochs)
        collector.reset_buffer(keep_statistics=True)


def _stock_off_policy(algorithm: Algorithm, venv: VectorEnvNormObs, cfg: DictConfig, steps: int) -> None:
    if "noise_max" in cfg:
        algorithm.policy.set_exploration_noise(MixedNoise(cfg.noise_min, cfg.noise_max, cfg.num_envs))
    if "epsilon_max" in cfg:
        mixed_epsilon(algorithm.policy, cfg)
    buffer = VectorReplayBuffer(cfg.buffer_size, cfg.num_envs)
    collector = Collector(algorithm, venv, buffer, exploration_noise=True)
    collector.reset()
    collector.collect(n_step=cfg.learning_starts, random=True)
    for _ in range(cfg.learning_starts, steps, cfg.num_envs):
        with policy_within_training_step(algorithm.policy):
            collector.collect(n_step=cfg.num_envs)
            for _ in range(cfg.updates_per_step):
                algorithm.update(buffer, cfg.batch_size)


def evaluate(policy: Policy) -> tuple[float, float]:
    """Mean return and success rate."""
    env = build_env(256)
    obs, total = env.reset(99), 0.0
    alive = torch.ones(256)
    for _ in range(SPEC.max_episode_steps):
        obs, reward, terminated, truncated, extras = env.step(policy(obs))
        total = total + alive * reward
        success = extras["success"] & truncated & alive.bool()
        alive = alive * (~terminated)
    return total.mean().item(), success.float().mean().item()


def compare(algo: str, seeds: int, scratch: Path) -> dict[str, Any]:
    cfg, steps = settings(algo), STEPS.get(algo, OFF_POLICY_STEPS)
    row: dict[str, Any] = {"learner": algo, "env_steps": steps}
    for side, train in (("ours", train_ours), ("stock", train_stock)):
        start = time.perf_counter()
        runs = [evaluate(train(algo, cfg, seed, steps, scratch)) for seed in range(seeds)]
        returns, success = zip(*runs, strict=True)
        row[side] = {"return": returns, "success": success, "seconds_per_run": (time.perf_counter() - start) / seeds}
    row["p_stock_better"] = mannwhitneyu(row["stock"]["return"], row["ours"]["return"], alternative="greater").pvalue
    return row


def line(row: dict[str, Any]) -> str:
    cells = [
        f"{mean(row[s][k]):.2f} ± {stdev(row[s][k]):.2f}" for k in ("return", "success") for s in ("ours", "stock")
    ]
    return f"| {row['learner']} | {row['env_steps']:,} | " + " | ".join(cells) + f" | {row['p_stock_better']:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    parser.add_argument("--learners", default=",".join(baselines.names()))
    parser.add_argument("--out", type=Path, default=Path("learning_vs_stock.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| learner | env steps | return, ours | return, stock | success, ours | success, stock | p(stock better) |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for algo in args.learners.split(","):
        rows.append(compare(algo, args.seeds, args.out.with_suffix(".safetensors")))
        print(line(rows[-1]), flush=True)
        args.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()

"""Env steps per second of PPO training: ours, stock Tianshou's collector, and rsl_rl.

    python -m benchmarks.train_throughput --num-envs 64
    python -m benchmarks.train_throughput --env go2-velocity --num-envs 4096 --device cuda:0 --profile --out bench.json
    python -m benchmarks.train_throughput --env go2-velocity --learners ours,isaaclab --num-envs 4096 --device cuda:0

| learner | agent | env |
|---|---|---|
| `ours` | ours | ours |
| `unrecorded` | ours | ours, but no part of a step is a CUDA graph (`tasks/cuda/record.py`) |
| `stock` | stock Tianshou | ours |
| `rsl_rl` | rsl_rl | ours |
| `isaaclab` | rsl_rl | the same scene, physics and MDP in Isaac Lab's own loop, see `benchmarks.isaaclab_loop` |

One process each, with the same networks, batch and hyper-parameters: those of `baselines/configs/ppo.yaml` at the
budget `smoke` on a CPU and `full` on a GPU, with a constant learning rate. Episodes start out of step, as they do in
training, but for `stock`, whose collector does not know that. The time of an iteration is split into the engine's
physics, the rest of the env step, policy inference, update and the overhead of collector and buffer. On CUDA the split
is measured on the device with events. "Per CPU second" counts the time that the process's threads worked, which other
work on the machine changes less. "Start" is from the start of the process to the end of its first iteration; kernels
that are not in Warp's cache yet are compiled in that time. "Memory" is that of the process, on CUDA what it has of the
device. `--profile` counts the copies from device to host that our step loop makes; what the profiler needs is in the
memory then. A learner may be named several times, to see how much a measurement varies.

`--together` starts all at once, which takes their memory together; they measure one by one, while the others are
stopped. "Start" is left out then.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from omegaconf import DictConfig, OmegaConf

import tasks
from baselines import config
from benchmarks import trivial_env, turns
from tasks.core import engines
from tasks.core.env import TensorEnv

if TYPE_CHECKING:
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper
    from rsl_rl.env import VecEnv

STAGES = ("physics", "rest of env step", "inference", "update")
NAMES = ("ours", "stock", "rsl_rl")
RATES = (("env_steps", "s"), ("env_steps", "cpu_s"), ("collect_steps", "s"))  # of a result
UNRECORDED = "unrecorded"
ISAACLAB = "isaaclab"  # needs a task with a simulator


class Stopwatch:
    """Seconds spent inside wrapped functions, by stage; on CUDA as the device sees them."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    def mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1000 if self._cuda else end - start

    def wrap(self, owner: Any, method: str, stage: str) -> None:
        function = getattr(owner, method)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.mark()
            result = function(*args, **kwargs)
            self._marks[stage].append((start, self.mark()))
            return result

        setattr(owner, method, timed)

    def clear(self) -> None:
        self._marks.clear()

    def split(self) -> dict[str, float]:
        total = {stage: sum(self.seconds(*pair) for pair in marks) for stage, marks in self._marks.items()}
        total["rest of env step"] = total["env step"] - total.get("physics", 0.0)
        return {stage: total.get(stage, 0.0) for stage in STAGES}


def build_env(args: argparse.Namespace, name: str) -> TensorEnv | RslRlVecEnvWrapper:
    spec = trivial_env.SPEC if args.env == "trivial" else tasks.get(args.env)
    where = args.num_envs, args.device, engines.check(args.engine, spec)
    if name == ISAACLAB:
        from benchmarks import isaaclab_loop

        return isaaclab_loop.build(spec, *where)
    return spec.build(*where, recorded=name != UNRECORDED)


def ppo_config(args: argparse.Namespace) -> DictConfig:
    cfg = config.load("ppo", args.env, "smoke" if args.device == "cpu" else "full")
    changes = {"num_envs": args.num_envs, "horizon": args.horizon, "desired_kl": None, "obs_norm": args.obs_norm}
    return OmegaConf.merge(cfg, changes)


Iteration = Callable[[], Any]


def watch_env(env: TensorEnv, watch: Stopwatch) -> None:
    watch.wrap(env, "step", "env step")
    if hasattr(env, "scene"):
        watch.wrap(env._env.sim, "step", "physics")
        if hasattr(env._env._physics, "step"):
            watch.wrap(env._env._physics, "step", "physics")


def ours(env: TensorEnv, cfg: DictConfig, watch: Stopwatch) -> Iteration:
    from baselines.learner.learners import make_learner

    learner = make_learner("ppo", env, cfg, seed=0, teacher=None)
    watch_env(env, watch)
    watch.wrap(learner, "_act", "inference")
    watch.wrap(learner, "_learn", "update")
    return learner.iterate


def stock(env: TensorEnv, cfg: DictConfig, watch: Stopwatch) -> Iteration:
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import VectorEnvNormObs
    from tianshou.utils.torch_utils import policy_within_training_step

    from tests.helpers.stock import StockVecEnv, make_stock_agent

    algorithm = make_stock_agent("ppo", env, cfg)
    steps = cfg.num_envs * cfg.horizon
    watch_env(env, watch)
    watch.wrap(algorithm.policy, "forward", "inference")
    venv = StockVecEnv(env)
    collector = Collector(
        algorithm, VectorEnvNormObs(venv) if cfg.obs_norm else venv, VectorReplayBuffer(steps, cfg.num_envs)
    )
    collector.reset()

    def iterate() -> None:
        with policy_within_training_step(algorithm.policy):
            collector.collect(n_step=steps)
            update()
        collector.reset_buffer(keep_statistics=True)

    forward = algorithm.policy.forward

    def update() -> None:
        algorithm.policy.forward = forward.__wrapped__  # inference inside an update belongs to the update
        start = watch.mark()
        algorithm.update(collector.buffer, batch_size=steps // cfg.minibatches, repeat=cfg.epochs)
        watch._marks["update"].append((start, watch.mark()))
        algorithm.policy.forward = forward

    return iterate


def rsl_rl(env: TensorEnv, cfg: DictConfig, watch: Stopwatch) -> Iteration:
    from benchmarks.rsl_rl_env import RslEnv

    watch_env(env, watch)
    return rsl_rl_runner(RslEnv(env, cfg.staggered), cfg, watch)


def isaaclab(env: RslRlVecEnvWrapper, cfg: DictConfig, watch: Stopwatch) -> Iteration:
    watch.wrap(env, "step", "env step")
    watch.wrap(env.unwrapped.sim, "step", "physics")
    if cfg.staggered:
        age = env.episode_length_buf
        age.copy_(torch.randint_like(age, int(env.max_episode_length)))
    return rsl_rl_runner(env, cfg, watch)


def rsl_rl_runner(env: VecEnv, cfg: DictConfig, watch: Stopwatch) -> Iteration:
    from rsl_rl.runners import OnPolicyRunner

    net = {
        "class_name": "rsl_rl.models:MLPModel",
        "hidden_dims": list(cfg.hidden_sizes),
        "activation": cfg.activation,
        "obs_normalization": cfg.obs_norm,
    }
    noise = {"class_name": "rsl_rl.modules:GaussianDistribution", "init_std": cfg.init_std}
    algorithm = {
        "class_name": "rsl_rl.algorithms:PPO",
        "num_learning_epochs": cfg.epochs,
        "num_mini_batches": cfg.minibatches,
        "clip_param": cfg.eps_clip,
        "gamma": cfg.gamma,
        "lam": cfg.gae_lambda,
        "value_loss_coef": cfg.vf_coef,
        "entropy_coef": cfg.ent_coef,
        "learning_rate": cfg.learning_rate,
        "max_grad_norm": cfg.max_grad_norm,
        "use_clipped_value_loss": cfg.value_clip,
        "schedule": "fixed",
        "normalize_advantage_per_mini_batch": True,
    }
    settings = {
        "num_steps_per_env": cfg.horizon,
        "save_interval": 10**9,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": net | {"distribution_cfg": noise},
        "critic": net,
        "algorithm": algorithm,
    }
    torch.backends.cuda.matmul.allow_tf32 = True  # as in Isaac Lab's script; ours does so in its updates, too
    runner = OnPolicyRunner(env, settings, log_dir=None, device=str(env.device))
    watch.wrap(runner.alg, "act", "inference")
    watch.wrap(runner.alg, "compute_returns", "update")
    watch.wrap(runner.alg, "update", "update")
    return lambda: runner.learn(1)


def measure(name: str, args: argparse.Namespace, wait: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Env steps per second and the split of the time of learner `name`; calls `wait` after the first iteration."""
    device = torch.device(args.device)
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    env, cfg = build_env(args, name), ppo_config(args)
    watch = Stopwatch(device)
    learners = {"ours": ours, UNRECORDED: ours, "stock": stock, "rsl_rl": rsl_rl, ISAACLAB: isaaclab}
    iterate = learners[name](env, cfg, watch)
    iterate()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start_s = time.time() - psutil.Process().create_time()
    wait()
    for _ in range(args.warmup - 1):
        iterate()
    watch.clear()
    start, busy = watch.mark(), time.process_time()
    for _ in range(args.iterations):
        iterate()
    end, busy = watch.mark(), time.process_time() - busy
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, split = watch.seconds(start, end), watch.split()
    steps = args.iterations * cfg.num_envs * cfg.horizon
    split["overhead"] = wall - sum(split.values())
    result = {
        "learner": name,
        "env_steps_per_s": steps / wall,
        "env_steps_per_cpu_s": steps / busy,
        "wall_s": wall,
        "share": {stage: seconds / wall for stage, seconds in split.items()},
        "collect_steps_per_s": steps / (wall - split["update"]),
        "start_s": start_s,
    }
    if args.profile and name == "ours":
        result["device_to_host_copies"] = copies(env, iterate.__self__)
    return result


def copies(env: TensorEnv, learner: Any) -> dict[str, int]:
    """Copies from device to host during one rollout, inside `env.step` and outside."""
    from tianshou.utils.torch_utils import policy_within_training_step
    from torch.profiler import ProfilerActivity, profile, record_function

    step = env.step

    def annotated(action: torch.Tensor) -> Any:
        with record_function("env step"):
            return step(action)

    env.step = annotated
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (env.device.type == "cuda")
    with profile(activities=activities) as profiler, policy_within_training_step(learner.algorithm.policy):
        for _ in range(learner.cfg.horizon):
            learner.collector.step(learner._act)
        if env.device.type == "cuda":
            torch.cuda.synchronize(env.device)
    learner.collector.take(0)
    env.step = step
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        return count_copies(json.loads(Path(folder, "trace.json").read_text())["traceEvents"])


def count_copies(events: list[dict[str, Any]]) -> dict[str, int]:
    """Device-to-host copies of a Chrome trace, by where the host asked for them."""
    ranges = [(e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") == "user_annotation"]
    # Warp asks through the driver, torch through the runtime; a copy inside a captured graph has no asker of its own.
    calls = (e for e in events if e.get("cat") in ("cuda_runtime", "cuda_driver"))
    asked = {e["args"]["correlation"]: e["ts"] for e in calls}
    counts = {"env step": 0, "step loop": 0}
    for event in events:
        if event.get("cat") == "gpu_memcpy" and "DtoH" in event["name"]:
            at = asked.get(event["args"]["correlation"], event["ts"])
            counts["env step" if any(start <= at <= end for start, end in ranges) else "step loop"] += 1
    return counts


def table(results: list[dict[str, Any]]) -> str:
    stages = (*STAGES, "overhead")
    ours = results[0]["env_steps_per_s"]
    mine = f"{results[0]['learner']} is"
    head = ("learner", "env steps/s", mine, "per CPU second", "collect only", *stages, "start", "memory")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for r in results:
        shares = (f"{r['share'][stage]:.1%}" for stage in stages)
        rate, cpu, collect = (r[f"{name}_per_{unit}"] for name, unit in RATES)
        cells = (r["learner"], f"{rate:,.0f}", f"{ours / rate:.2f} ×", f"{cpu:,.0f}", f"{collect:,.0f}", *shares)
        start = "" if r["start_s"] is None else f"{r['start_s']:.0f} s"
        lines.append(f"| {' | '.join(cells)} | {start} | {r['memory_gib']:.1f} GiB |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="trivial", help="trivial, or a task")
    parser.add_argument("--engine", default="physx", help="of the task (physx: Isaac Sim's where it is installed)")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--obs-norm", action="store_true", help="each learner's own normalisation of observations")
    parser.add_argument("--learners", default=",".join(NAMES))
    parser.add_argument("--profile", action="store_true", help="count device-to-host copies of our step loop")
    parser.add_argument("--out", type=Path, help="write a JSON file")
    parser.add_argument("--together", action="store_true", help="start all at once")
    parser.add_argument("--measure", choices=(*NAMES, UNRECORDED, ISAACLAB), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        turns.child(lambda: measure(args.measure, args, turns.wait))
    names = args.learners.split(",")
    commands = [["-m", "benchmarks.train_throughput", *sys.argv[1:], "--measure", name] for name in names]
    results = []
    together = len(commands) if args.together else 1
    for name, result in zip(names, turns.run(commands, together, args.device), strict=True):
        if "error" in result:
            print(f"{name} failed: {result['error']}", file=sys.stderr, flush=True)
            continue
        results.append(result | ({"start_s": None} if args.together else {}))
        if args.out:
            save(args, results)
    if not results:
        sys.exit(1)
    print(table(results))
    for result in results:
        if "device_to_host_copies" in result:
            print(f"device-to-host copies in a rollout: {result['device_to_host_copies']}")


def save(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Write what has been measured so far."""
    cuda = args.device.startswith("cuda")
    device = torch.cuda.get_device_name(args.device) if cuda else platform.processor() or platform.machine()
    versions = {name: version(name) for name in ("torch", "tianshou", "rsl-rl-lib")}
    report = {"command": sys.argv, "device": device, "versions": versions, "results": results}
    args.out.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

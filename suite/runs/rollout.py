"""The process that steps a policy through the evaluation: `python -m suite.runs.rollout PROTOCOL POLICY EVENTS`.

It reports each episode as soon as it ends, so that what a crash leaves is known. It depends on the protocol (JSON)
and the policy file alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from suite.execute import devices
from suite.execute.process import Event, emitter, follow_parent, leave, limit_threads, of_the_machine

HEARTBEAT_S = (
    5.0  # [s] between two reports of the steps that were taken: episodes may take longer than a watchdog waits
)

Emit = Callable[[Event], None]


def main() -> int:
    """Run the evaluation that the arguments describe."""
    follow_parent()
    protocol, policy_file, events = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    device = devices.claim(protocol["device"])
    limit_threads(device)
    import torch

    import tasks
    from baselines.policy_file import load_policy
    from suite import protocol as protocols

    protocol = protocols.Protocol(**protocol | {"device": device})
    spec = tasks.get(protocol.task)
    policy = load_policy(policy_file, device)
    rows = protocols.rows(spec, protocol)
    env = spec.build(len(rows.cell), device, protocol.engine)
    env.identify(torch.tensor(rows.identity, device=device))
    difficulty = torch.tensor(rows.difficulty, dtype=torch.float32, device=device)
    factors = torch.tensor(rows.factors, dtype=torch.float32, device=device)
    if protocol.protocol == "nominal":
        env.set_sampler(lambda env_ids: difficulty[env_ids])
    else:
        env.set_sampler(lambda env_ids: (difficulty[env_ids], factors[env_ids]))
    run_episodes(env, policy, protocol.episodes_per_env, protocol.seed, emitter(events))
    return 0


def run_episodes(env: Any, policy: Any, per_env: int, seed: int, emit: Emit) -> None:
    """Emit the first `per_env` episodes of every row of `env`, and markers: `started` first and `done` last.

    Between them it emits the number of control steps taken, now and then.

    A row has env, episode, difficulty, factors, return, length [control steps], success_once, success_at_end,
    termination and violations (steps over each safety limit).
    An episode in which a NaN or infinite observation, action or reward appears has termination `non_finite`, one that
    does not end within `per_env` times the declared length has `cut`. The env gets zeros for an action that is not
    finite, so that other rows go on. Where the engine raises, `crashed` is emitted.

    Raises whatever the policy raises, and from the engine what is trouble of the machine (`process.of_the_machine`).
    """
    import torch

    torch.manual_seed(seed)
    n, device = env.num_envs, env.device
    obs = env.reset(seed)
    emit({"marker": "started"})
    returns = torch.zeros(n, dtype=torch.double, device=device)
    lengths, finished = torch.zeros(2, n, dtype=torch.long, device=device)
    once, bad = torch.zeros(2, n, dtype=torch.bool, device=device)
    success = once
    limits = tuple(env.spec.safety)
    over = torch.zeros(n, len(limits), dtype=torch.long, device=device)
    beat = time.monotonic()
    for step in range(per_env * env.spec.max_episode_steps + 1):
        if time.monotonic() - beat > HEARTBEAT_S:
            emit({"steps": step})
            beat = time.monotonic()
        bad |= ~obs.isfinite().all(-1)
        with torch.no_grad():
            action = policy(obs.nan_to_num())
        if action.shape != (n, env.spec.action_dim) or action.dtype != torch.float32:
            raise ValueError(f"the policy gives actions {tuple(action.shape)} in {action.dtype}")
        lost = ~action.isfinite().all(-1)
        bad |= lost
        action = action.masked_fill(lost[:, None], 0.0)
        try:
            obs, reward, terminated, truncated, extras = env.step(action)
        except Exception as error:
            if of_the_machine(error):
                raise  # not the policy's doing
            print(f"the engine failed: {error!r}", file=sys.stderr, flush=True)
            emit({"marker": "crashed"})
            return
        ended = terminated | truncated
        bad |= ~reward.isfinite() | (ended & ~extras["final_obs"].isfinite().all(-1))
        returns += reward.nan_to_num(posinf=0.0, neginf=0.0)
        lengths += 1
        success = extras["success"].clone()
        once |= success
        for k, limit in enumerate(limits):
            over[:, k] += extras["violations"][limit]
        rows = (ended & (finished < per_env)).nonzero().squeeze(-1)
        names = _termination_names(extras["terminations"], rows)
        settings = extras["difficulty"], extras["factors"]
        _emit(emit, limits, rows, names, finished, *settings, returns, lengths, once, success, bad, over)
        finished += ended
        for total in (returns, lengths, once, bad):
            total.masked_fill_(ended, 0)
        over.masked_fill_(ended[:, None], 0)
        if bool((finished >= per_env).all()):
            break
    rows = (finished < per_env).nonzero().squeeze(-1)
    settings = env.difficulty, env.factors
    _emit(emit, limits, rows, ["cut"] * len(rows), finished, *settings, returns, lengths, once, success, bad, over)
    if env.overflows():
        emit({"marker": "overflow"})
    emit({"marker": "done"})


def _emit(emit: Emit, limits: tuple[str, ...], rows: Any, terminations: list[str], *columns: Any) -> None:
    values = (column[rows].tolist() for column in columns)
    episode, difficulty, factors, returns, lengths, once, at_end, bad, over = values
    for k, env_id in enumerate(rows.tolist()):
        emit(
            {
                "env": env_id,
                "episode": episode[k],
                "difficulty": difficulty[k],
                "factors": factors[k],
                "return": returns[k],
                "length": lengths[k],
                "success_once": once[k],
                "success_at_end": at_end[k],
                "termination": "non_finite" if bad[k] else terminations[k],
                "violations": dict(zip(limits, over[k], strict=True)),
            }
        )


def _termination_names(terminations: dict[str, Any], rows: Any) -> list[str]:
    """Why each of `rows` ended: its first flag that is up, a time-out only where nothing else is."""
    names = sorted(terminations, key=lambda name: name == "time_out")
    flags = {name: terminations[name][rows].tolist() for name in names}
    return [next((name for name in names if flags[name][k]), "unknown") for k in range(len(rows))]


if __name__ == "__main__":
    leave(main)

"""`RemoteEnv`: a task's env in a process of its own, since Isaac Lab has one simulation a process.

Observations, rewards and actions are tensors that both processes have in their address space (shared memory on the
CPU, CUDA's inter-process handles on a GPU); a pipe carries only what to do next. Both sides wait for the device before
they hand over, once a step each.
"""

from __future__ import annotations

import ctypes
import os
import signal
import traceback
from collections.abc import Collection
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import multiprocessing

from tasks.core.build import build
from tasks.core.env import Step, TensorEnv
from tasks.spec import TaskSpec

_PR_SET_PDEATHSIG = 1


class RemoteEnv(TensorEnv):
    """The env of a task in a child process, which ends with this one.

    The sampler is called here, in the parent, whenever an episode starts there. Its answers are all the child learns;
    so teachers, their checkpoints and their clocks are as they are without processes. Raises `RuntimeError`, with the
    child's reason, where the child fails.
    """

    def __init__(self, spec: TaskSpec, num_envs: int, device: str | torch.device, engine: str) -> None:
        """Start the process; `wait` returns when its env has been built."""
        super().__init__(spec, num_envs, device)
        self._shared = {
            "action": torch.zeros(num_envs, spec.action_dim, device=self.device),
            "obs": torch.zeros(num_envs, spec.obs_dim, device=self.device),
            "final_obs": torch.zeros(num_envs, spec.obs_dim, device=self.device),
            "reward": torch.zeros(num_envs, device=self.device),
            "difficulty": torch.zeros(num_envs, device=self.device),
            "factors": torch.zeros_like(self.factors),
            "flags": torch.zeros(3, num_envs, dtype=torch.bool, device=self.device),  # terminated, truncated, success
        }
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        numerics = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
        arguments = (theirs, os.getpid(), spec, num_envs, str(device), engine, numerics, self._shared)
        self._process = context.Process(target=_serve, args=arguments, daemon=True, name=f"env of {spec.name}")
        self._process.start()
        theirs.close()  # so that reading ends when the child does
        self._begun = False

    def wait(self) -> None:
        """Return when the env has been built; simulators may take minutes."""
        self._answer()

    def set_sampler(self, sampler: Any, moving: Collection[str] | None = None) -> None:
        """See `TensorEnv.set_sampler`."""
        super().set_sampler(sampler, moving)
        self._ask("moving", moving)

    def identify(self, rows: torch.Tensor) -> None:
        """See `TensorEnv.identify`."""
        super().identify(rows)
        self._ask("identify", rows.cpu().numpy())

    def begin(self, action: torch.Tensor) -> None:
        """Let the child take the step whose outcome the next `step` returns, without waiting for it."""
        self._shared["action"].copy_(action)
        self._send("step", None)
        self._begun = True

    def _reset(self, seed: int | None) -> torch.Tensor:
        self._ask("reset", seed)
        self.draws.begin(self._every)
        self._take_over()
        return self._shared["obs"]

    def _stagger(self, age: torch.Tensor) -> None:
        self._ask("age", age.cpu().numpy())

    def _step(self, action: torch.Tensor) -> Step:
        if not self._begun:
            self.begin(action)
        self._begun = False
        self._answer()
        self._take_over()
        terminated, truncated, success = self._shared["flags"]
        extras = {
            "final_obs": self._shared["final_obs"],
            "success": success,
            "terminations": {"time_out": truncated, "failed": terminated},
            "violations": {},
        }
        return self._shared["obs"], self._shared["reward"], terminated, truncated, extras

    def _take_over(self) -> None:
        # New tensors: what the step returns of the episodes that ended is not changed.
        self.difficulty, self.factors = self._shared["difficulty"].clone(), self._shared["factors"].clone()

    def check(self) -> None:
        """See `TensorEnv.check`."""
        super().check()
        self._ask("check", None)

    def overflows(self) -> int:
        """See `TensorEnv.overflows`."""
        return self._ask("overflows", None)

    def diverged(self) -> int:
        """See `TensorEnv.diverged`."""
        return self._ask("diverged", None)

    def close(self) -> None:
        """End the process; a simulator is not closed, some hang in that."""
        self._process.kill()
        self._process.join()

    def _ask(self, what: str, value: Any) -> Any:
        self._send(what, value)
        return self._answer()

    def _send(self, what: str, value: Any) -> None:
        _finish(self.device)
        try:
            self._pipe.send((what, value))
        except OSError:
            raise self._ended() from None

    def _answer(self) -> Any:
        """What the child says, after it got the samples that it asks for until then."""
        while True:
            try:
                kind, value = self._pipe.recv()
            except (EOFError, OSError):
                raise self._ended() from None
            if kind == "done":
                return value
            if kind == "failed":
                raise RuntimeError(f"{self.spec.name}: {value}")
            given = self._sampler(torch.from_numpy(value).to(self.device))
            parts = given if isinstance(given, tuple) else (given,)
            self._pipe.send([part.cpu().numpy() for part in parts])

    def _ended(self) -> RuntimeError:
        self._process.join(5.0)
        return RuntimeError(f"{self.spec.name}: the process of its env ended with exit code {self._process.exitcode}")


def _finish(device: torch.device) -> None:
    """What the other process is about to read or write has been written or read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _serve(
    pipe: Connection,
    parent: int,
    spec: TaskSpec,
    num_envs: int,
    device: str,
    engine: str,
    numerics: tuple[int, bool],
    shared: dict[str, torch.Tensor],
) -> None:
    """The child's main loop."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)
    torch.set_num_threads(numerics[0])
    torch.use_deterministic_algorithms(numerics[1], warn_only=True)
    try:
        _work(pipe, build(spec, num_envs, device, engine), shared)
    except EOFError:
        code = 0  # the parent is done
    except BaseException as error:
        traceback.print_exc()
        pipe.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"))
        code = 1
    os._exit(code)  # simulators may hang in their clean-up


def _work(pipe: Connection, env: TensorEnv, shared: dict[str, torch.Tensor]) -> None:
    """Do what the parent says, until it closes the pipe: `EOFError`."""

    def sampler(env_ids: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        pipe.send(("sample", env_ids.cpu().numpy()))
        parts = [torch.from_numpy(part).to(env.device) for part in pipe.recv()]
        return parts[0] if len(parts) == 1 else tuple(parts)

    env.check_at_once = False
    outcome = None
    while True:
        pipe.send(("done", outcome))
        what, value = pipe.recv()
        outcome = None
        if what == "step":
            obs, reward, terminated, truncated, extras = env.step(shared["action"])
            shared["reward"].copy_(reward)
            shared["final_obs"].copy_(extras["final_obs"])
            for flag, now in zip(shared["flags"], (terminated, truncated, extras["success"]), strict=True):
                flag.copy_(now)
        elif what == "reset":
            obs = env.reset(value)
        elif what == "age":
            env._stagger(torch.from_numpy(value).to(env.device))
        elif what == "identify":
            env.identify(torch.from_numpy(value).to(env.device))
        elif what == "moving":
            env.set_sampler(sampler, value)
        elif what == "check":
            env.check()
        else:
            outcome = getattr(env, what)()
        if what in ("step", "reset"):
            for name, now in (("obs", obs), ("difficulty", env.difficulty), ("factors", env.factors)):
                shared[name].copy_(now)
        _finish(env.device)

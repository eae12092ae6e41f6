"""`gradus render`: a picture or a film of a policy in a task, without a display."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

import tasks
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, one_of, shown
from suite.execute import devices
from suite.execute.process import leave, limit_threads
from suite.plan.matrix import concrete_engine
from suite.plan.preflight import check_writable
from suite.plan.values import SEEDS, check_between
from suite.runs import policies
from suite.runs.rundir import atomic
from tasks.core import engines
from tasks.spec import GRADES, TaskSpec, difficulty_of

if TYPE_CHECKING:
    import numpy as np

    from baselines.policy_file import Policy
    from tasks.core.env import TensorEnv

FRAME_RATE = 30.0  # [Hz] of a film, at most
SMALLEST, LARGEST = 64, 4096  # [px]


EXAMPLES = (
    "gradus render --task franka-lift --grade g3 --policy zero --out lift.png",
    "gradus render --task toy-reach --policy runs/0.1.0/toy-reach/ppo/none-r0-torch-smoke/seed0 --out reach.mp4",
)


@app.command("suite.render", EXAMPLES, leaves=True)
def main(
    task: o.Task,
    grade: Annotated[str, o.named("--grade", "GRADE", "g1 to g5", lambda: GRADES)] = "g3",
    policy: Annotated[
        str, o.option("--policy", "POLICY", "zero, random, a policy.safetensors or a run directory")
    ] = "zero",
    seed: Annotated[int, o.option("--seed", "K", "the seed of the episodes", parser=o.integer)] = 0,
    seconds: Annotated[
        float | None,
        o.option(
            "--seconds", "S", "when the picture is taken (0), how long the film is (one episode)", parser=o.number
        ),
    ] = None,
    physics: o.Physics = "physx",
    device: o.Device = "auto",
    out: Annotated[Path | None, o.folder("--out", "FILE", "a picture (.png) or a film (.mp4) (TASK-GRADE.png)")] = None,
    size: Annotated[str, o.option("--size", "WxH", "of the picture or film, in pixels", o.OUTPUT)] = "640x480",
) -> int:
    """Write a picture or a film of a policy in a task; it needs no display.

    Exit code: 0, 2 for a mistake.
    """
    spec = tasks.get(one_of("task", task, tasks.names()))
    grade = one_of("grade", grade, GRADES)
    engine = concrete_engine(one_of("engine", physics, engines.names()), spec)
    device = devices.slots(device)[0]
    out = out or Path(f"{spec.name}-{grade}.png")
    film = _is_film(out)
    width, height = _size(size)
    if seconds is None:
        seconds = spec.episode_length_s if film else 0.0
    if not 0.0 <= seconds <= 3600.0 or (film and seconds < spec.control_dt):
        least = spec.control_dt if film else 0.0
        raise UserError(f"--seconds must be between {least:g} and 3600, got {seconds:g}")
    check_between("--seed", seed, *SEEDS)
    check_writable(out.parent)
    file = policies.file_of(policy, spec)

    device = devices.claim(device)
    limit_threads(device)
    with _silent():
        loaded = policies.load(policy if file is None else file, spec, device)
        said = Progress(spec.name, engine)
        env = spec.pictured(width, height).build(1, device, engine)
        frames = watch(env, loaded, difficulty_of(grade), seed, seconds, film, said)
        if film:
            stride = _stride(spec)
            atomic(out, lambda path: write_film(path, frames, (width, height), 1.0 / (stride * spec.control_dt)))
        else:
            atomic(out, lambda path: write_picture(path, next(frames)))
    said.end()
    print(out)
    return 0


class Progress:
    """One line on standard error: what is going on, and how far it is. It is kept up to date in a terminal alone."""

    def __init__(self, task: str, engine: str) -> None:
        """The simulator starts, which takes longest."""
        self._live, self._task = sys.stderr.isatty(), task
        self._say(f"{task}: starting {engine}" if engine != "torch" else f"{task}: starting")

    def __call__(self, step: int, steps: int) -> None:
        """`step` of `steps` control steps are done."""
        if self._live:
            self._say(f"{self._task}: step {step} of {steps}")

    def end(self) -> None:
        """The next line is another's."""
        if self._live:
            print(file=sys.stderr)

    def _say(self, text: str) -> None:
        print(f"\r{text:<60}" if self._live else text, end="" if self._live else "\n", file=sys.stderr, flush=True)


def _is_film(out: Path) -> bool:
    if out.suffix not in (".png", ".mp4"):
        raise UserError(f"--out {shown(out)}: expected a file name that ends in .png (a picture) or .mp4 (a film)")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file")
    return out.suffix == ".mp4"


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if width.isdecimal() and height.isdecimal() and len(text) < 20:
        size = int(width), int(height)
        if all(SMALLEST <= edge <= LARGEST and edge % 2 == 0 for edge in size):
            return size
    raise UserError(
        f"--size {shown(text)}: expected WxH with even numbers from {SMALLEST} to {LARGEST}, for instance 640x480"
    )


def _stride(spec: TaskSpec) -> int:
    return max(1, round(1.0 / (FRAME_RATE * spec.control_dt)))


class Pictured(Protocol):
    """An env with a camera."""

    def picture(self) -> np.ndarray:
        """What the camera sees [height, width, 3], uint8."""
        ...


def watch(
    env: TensorEnv,
    policy: Policy,
    difficulty: float,
    seed: int,
    seconds: float,
    film: bool,
    said: Callable[[int, int], None] = lambda step, steps: None,
) -> Iterator[np.ndarray]:
    """Pictures [height, width, 3] uint8 of the episodes that the policy acts in: of all the time, or of its end.

    `said` is told how many of the steps are done.
    """
    import torch

    camera = cast("Pictured", env)  # a task with a view is built with one
    torch.manual_seed(seed)
    env.set_sampler(lambda env_ids: torch.full((len(env_ids),), difficulty, device=env.device))
    obs = env.reset(seed)
    steps, stride = round(seconds / env.spec.control_dt), _stride(env.spec)
    for step in range(steps):
        if film and step % stride == 0:
            yield camera.picture()
        with torch.no_grad():
            obs = env.step(policy(obs))[0]
        if step % stride == 0 or step + 1 == steps:
            said(step + 1, steps)
    if not film:
        yield camera.picture()


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a PNG of at most 256 colours, which is a third of the size and looks the same."""
    from PIL import Image

    Image.fromarray(image).quantize(dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


def write_film(path: Path, frames: Iterator[np.ndarray], size: tuple[int, int], rate: float) -> None:
    """Write an MP4 (H.264) of the frames, `rate` of them a second."""
    from imageio_ffmpeg import write_frames

    options: dict[str, Any] = {"fps": rate, "codec": "libx264", "quality": 7, "macro_block_size": 2}
    options["output_params"] = ["-f", "mp4"]  # the file has a temporary name
    writer = write_frames(str(path), size, **options)
    writer.send(None)
    for frame in frames:
        writer.send(frame.tobytes())
    writer.close()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop what simulators print; what they report is on standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


if __name__ == "__main__":
    leave(lambda: exit_code("suite.render", main))

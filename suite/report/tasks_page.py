"""The page of the tasks: what `docs/tasks.md` says, from their declarations alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.isaaclab import assets
from tasks.spec import GRADES, RANDOMIZATION_LEVELS, TaskSpec, Term

PICTURE = "gradus render --task {name} --grade {grade} --out docs/tasks/{name}.png --size 480x320"
GRADE = "g3"


def markdown(specs: Sequence[TaskSpec]) -> str:
    """The whole page. Pictures are expected in `tasks/` beside it."""
    parts = [
        "# Tasks\n",
        "Written by `gradus list --markdown docs/tasks.md` from the declarations in `tasks/`. Each picture is",
        f"the start of an episode at {GRADE}, with the goal drawn in, by",
        f"`{PICTURE.format(name='TASK', grade=GRADE)}`.\n",
        "Observations are one vector, in the order of the tables. Actions are in [-1, 1]; their unit is what 1 means.",
        "A grade parameter is linear between two grades: each env has its own difficulty, from 0 (g1) to 1 (g5).\n",
        *_table(
            ("task", "robot", "success"),
            ([f"[{spec.name}](#{spec.name})", spec.robot, spec.success] for spec in specs),
        ),
    ]
    for spec in specs:
        parts += _task(spec)
    return "\n".join(parts).rstrip() + "\n"


def _task(spec: TaskSpec) -> list[str]:
    return [
        f"## {spec.name}\n",
        f"![{spec.name}](tasks/{spec.name}.png)\n",
        f"{spec.summary}\n",
        *_table(("", ""), _facts(spec)),
        "What the grades move:\n",
        *_table(
            ("parameter", "unit", *GRADES, "meaning"),
            ([name, p.unit, *(_number(value) for value in p.values), p.doc] for name, p in spec.grades.items()),
        ),
        f"Observations ({spec.policy_dim}):\n",
        *_terms(spec.observations),
        *((f"For a critic besides ({spec.obs_dim - spec.policy_dim}):\n",) if spec.critic_observations else ()),
        *(_terms(spec.critic_observations) if spec.critic_observations else ()),
        f"Actions ({spec.action_dim}; for agents that choose from a list: {len(spec.discrete_actions)}):\n",
        *_terms(spec.actions),
        *_safety(spec),
        *_factors(spec),
    ]


def _facts(spec: TaskSpec) -> Iterable[Sequence[str]]:
    hold = f", for {spec.success_hold_s:g} s without a break" if spec.success_hold_s else ""
    when = {"end": "at the end of the episode", "once": "at any time of the episode"}[spec.success_when]
    yield "success", f"{spec.success}{hold}; {when}"
    yield "robot", f"{spec.robot} ({', '.join(f'{n}: {assets.ASSETS[n].package}' for n in spec.assets)})"
    yield "rates", f"control {1 / spec.control_dt:.4g} Hz, physics {1 / spec.physics_dt:.4g} Hz"
    yield "episode", f"{spec.episode_length_s:g} s, {spec.max_episode_steps} steps"
    yield "engines", ", ".join(spec.engines)
    for engine, reason in spec.not_on.items():
        yield f"not on {engine}", reason
    yield "sensors", ", ".join(spec.sensors) or "none but the state of joints and bodies"
    yield "env steps", ", ".join(f"{name} {steps / 1e6:g} M" for name, steps in spec.budgets.items())


def _terms(terms: Iterable[Term]) -> list[str]:
    return _table(("name", "width", "unit", "meaning"), ([t.name, str(t.dim), t.unit, t.doc] for t in terms))


def _safety(spec: TaskSpec) -> list[str]:
    if not spec.safety:
        return []
    rows = ([name, f"{_number(limit.value)} {limit.unit}", limit.doc] for name, limit in spec.safety.items())
    return ["Safety limits (steps over one are counted per episode):\n", *_table(("limit", "value", "of"), rows)]


def _factors(spec: TaskSpec) -> list[str]:
    if not spec.factors:
        return []
    levels = RANDOMIZATION_LEVELS[1:]
    rows = (
        [
            *(f.name, f.category, f.unit, _number(f.nominal)),
            *(_range(f.ranges[level]) if level in f.ranges else "" for level in levels),
            *(_range(f.evaluation), f.doc),
        ]
        for f in spec.factors
    )
    return [
        "Factors (those that no level moves are held out: seen in evaluations only):\n",
        *_table(("factor", "category", "unit", "nominal", *levels, "evaluation", "meaning"), rows),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', r'\|') for cell in row)} |" for row in rows]
    return [*lines, ""]


def _range(bounds: tuple[float, float]) -> str:
    return f"{_number(bounds[0])} to {_number(bounds[1])}"


def _number(value: float) -> str:
    return f"{value:.4g}"

"""A curriculum that goes from easy to hard with the number of successes: settings and definition."""

from dataclasses import dataclass

from curricula.definition import TeacherConfig, TeacherDef
from tasks.core.settings import positive


@dataclass
class SweepConfig(TeacherConfig):
    """The settings of every teacher, and one more."""

    pace: float = positive(0.1)  # how much further it goes with a thousand successes, of the whole range


SWEEP = TeacherDef(
    name="sweep",
    schema=SweepConfig,
    teacher="gradus_plugin_example.sweep_teacher:Sweep",
    summary="from easy to hard with every thousand successes",
    paper="",
)

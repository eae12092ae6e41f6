"""The suite's own teachers: settings and definition of each. Their classes are in `curricula.teachers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curricula.definition import CurriculumConfig, TeacherConfig, TeacherDef
from tasks.core.settings import count, one_of, positive, share

SCORES = ("learnability", "advantage")


NONE = TeacherDef(
    name="none",
    schema=CurriculumConfig,
    teacher="curricula.teachers.fixed:FixedGrade",
    summary="every episode at one grade",
    paper="",
)

UNIFORM = TeacherDef(
    name="uniform",
    schema=TeacherConfig,
    teacher="curricula.teachers.fixed:Uniform",
    summary="uniform over the whole range",
    paper="domain randomisation, Tobin et al. 2017, arXiv:1703.06907",
)


@dataclass
class StagedConfig(TeacherConfig):
    """Settings of `curricula.teachers.staged`."""

    promote: float = share(0.8)  # success from which an env climbs
    demote: float = share(0.4)  # success up to which it falls
    window: int = count(2**16, default=4)  # episodes of an env that are judged together
    step: float = positive(0.1)  # how far it moves, of the whole range

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raise `ValueError` unless `promote` is above `demote`."""
        _rises(values)


STAGED = TeacherDef(
    name="staged",
    schema=StagedConfig,
    teacher="curricula.teachers.staged:Staged",
    summary="each env climbs and falls by its own success",
    paper="game-inspired curriculum, Rudin et al. 2022, arXiv:2109.11978",
)


@dataclass
class ReverseConfig(TeacherConfig):
    """Settings of `curricula.teachers.reverse`; the first three defaults are those of the paper (section 5)."""

    promote: float = share(0.9)  # success above which a start has been mastered
    demote: float = share(0.1)  # success below which it is too hard still
    replay: float = share(0.33)  # share of episodes from starts that were good earlier
    noise: float = positive(0.1)  # standard deviation of a step away from a good start, of the whole range
    window: int = count(2**16, default=2048)  # episodes between two choices of good starts
    neighbours: int = count(2**16, default=32)  # episodes that estimate the success at a start

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raise `ValueError` unless `promote` is above `demote` and `neighbours` fit into half a window."""
        _rises(values)
        _enough(values)


REVERSE = TeacherDef(
    name="reverse",
    schema=ReverseConfig,
    teacher="curricula.teachers.reverse:Reverse",
    summary="outward from the easiest start, along what is sometimes solved",
    paper="reverse curriculum generation, Florensa et al. 2017, arXiv:1707.05300",
)


@dataclass
class AdrConfig(TeacherConfig):
    """Settings of `curricula.teachers.adr`; the defaults of probability and window are the paper's (appendix B)."""

    promote: float = share(0.8)  # success at a boundary from which it moves outward
    demote: float = share(0.4)  # success up to which it moves inward
    boundary_probability: float = share(0.5)  # share of episodes at a boundary
    window: int = count(2**16, default=240)  # episodes that decide about a boundary
    step: float = positive(0.05)  # how far it moves, of the whole range

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raise `ValueError` unless `promote` is above `demote`."""
        _rises(values)


ADR = TeacherDef(
    name="adr",
    schema=AdrConfig,
    teacher="curricula.teachers.adr:AutomaticRandomization",
    summary="ranges that grow and shrink with success at their boundary",
    paper="automatic domain randomisation, OpenAI et al. 2019, arXiv:1910.07113",
)


@dataclass
class PlrConfig(TeacherConfig):
    """Settings of `curricula.teachers.plr`; the default staleness is the paper's (section 4)."""

    score: str = one_of(SCORES, "learnability")  # what can be learned from a level
    levels: int = count(2**16, default=512)  # points that are trained on
    temperature: float = positive(1.0)  # the paper's 0.1 would put thousands of parallel envs on one or two levels
    staleness: float = share(0.1)  # share of the draws that go by how long ago a level was played
    memory: float = share(0.9)  # weight of what is known about a level after one more episode

    @classmethod
    def needs_advantage(cls, values: Mapping[str, Any]) -> bool:
        """Whether levels are scored by advantage."""
        return values["score"] == "advantage"


PLR = TeacherDef(
    name="plr",
    schema=PlrConfig,
    teacher="curricula.teachers.plr:LevelReplay",
    summary="replays the levels from which most can be learned",
    paper="prioritised level replay, Jiang et al. 2021, arXiv:2010.03934;"
    " scored by learnability, Rutherford et al. 2024, arXiv:2408.15099, or by advantage",
)


@dataclass
class AlpGmmConfig(TeacherConfig):
    """Settings of `curricula.teachers.alp_gmm`; random share and components are those of the paper (section 4)."""

    random: float = share(0.2)  # share of episodes that are uniform
    window: int = count(2**16, default=4096)  # latest episodes that are compared, the newer half with the older
    fit_every: int = count(2**16, default=2048)  # episodes between two fits
    components: int = count(100, least=2, default=10)  # at most; mixtures of 2 up to it compete
    neighbours: int = count(2**16, default=64)  # episodes that estimate the success at a point
    iterations: int = count(10_000, default=20)  # of expectation-maximisation

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Raise `ValueError` unless a fit takes at most a window and `neighbours` fit into half of it."""
        _enough(values)
        _fits(values)


ALP_GMM = TeacherDef(
    name="alp_gmm",
    schema=AlpGmmConfig,
    teacher="curricula.teachers.alp_gmm:LearningProgress",
    summary="a Gaussian mixture over where success changes",
    paper="absolute learning progress, Portelas et al. 2019, arXiv:1910.07224",
)


@dataclass
class SpdlConfig(TeacherConfig):
    """Settings of `curricula.teachers.spdl`."""

    success: float = share(0.5)  # that the distribution has to keep
    divergence: float = positive(0.05)  # from the distribution before, at most, per fit [nats]
    fit_every: int = count(2**16, default=1024)  # episodes between two fits
    initial_std: float = positive(0.1)  # around the easiest point, of the whole range
    minimum_std: float = positive(0.02)
    target_mean: float = share(0.5)  # of every axis; with the next the moments of the uniform distribution
    target_std: float = positive(0.29)


SPDL = TeacherDef(
    name="spdl",
    schema=SpdlConfig,
    teacher="curricula.teachers.spdl:SelfPaced",
    summary="a Gaussian that widens to the target while success holds",
    paper="self-paced learning, Klink et al. 2021, arXiv:2102.13176",
)


def _rises(values: Mapping[str, Any]) -> None:
    promote, demote = values["promote"], values["demote"]
    if promote <= demote:
        raise ValueError(f"promote={promote} has to be above demote={demote}: no success would meet both")


def _enough(values: Mapping[str, Any]) -> None:
    neighbours, window = values["neighbours"], values["window"]
    if neighbours > window // 2:
        raise ValueError(f"neighbours={neighbours}: expected at most half of window={window}")


def _fits(values: Mapping[str, Any]) -> None:
    if values["fit_every"] > values["window"]:
        raise ValueError(f"fit_every={values['fit_every']}: expected at most window={values['window']}")

"""The task toy-sticky, without a simulator: toy-reach with play in its drive."""

from dataclasses import replace

from gradus_plugin_example.dead_zone import DEAD_ZONE
from tasks.toy.reach import SPEC as REACH

SPEC = replace(
    REACH,
    name="toy-sticky",
    summary="A point mass whose drive has play has to reach a goal on a plane.",
    factors=(*REACH.factors, DEAD_ZONE),
)

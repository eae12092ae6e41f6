"""An engine for tasks without a simulator."""

from tasks.core.engines import Engine

EXPLICIT_EULER = Engine(
    name="explicit_euler", runtime="gradus_plugin_example.explicit_step:explicit", simulator=False, also=("euler",)
)

"""The private names of Isaac Lab's OVPhysX backend and of OVPhysX that this folder uses, and the tested versions."""

from __future__ import annotations

from tasks.core.fast import Home

VERSIONS = {"isaaclab": "3.0.0", "ovphysx": "0.6.4"}

CONTACT_BUFFERS = (
    "net_normal_forces_w",
    "net_normal_forces_w_history",
    "normal_force_matrix_w",
    "normal_force_matrix_w_history",
    "current_air_time",
    "current_contact_time",
    "last_air_time",
    "last_contact_time",
    "net_forces_w",
    "net_forces_w_history",
    "force_matrix_w",
    "force_matrix_w_history",
    "net_friction_forces_w",
    "net_friction_forces_w_history",
    "friction_force_matrix_w",
    "friction_force_matrix_w_history",
    "contact_pos_w",
)
"""Buffers of a contact sensor's data. Each stands in an attribute of this name behind an underscore."""

_CLOCK = ("is_outdated", "timestamp", "timestamp_last_update")
_UPDATED = CONTACT_BUFFERS[:16]
_FLAT = ("normal_forces_flat", "friction_forces_flat", "normal_forces_matrix_flat", "friction_forces_matrix_flat")
_SIZES = ("num_envs", "num_filter_shapes", "history_length", "contact_force_threshold")
_TIMES = ("current_air_time", "last_air_time", "current_contact_time", "last_contact_time")

HOME = Home(
    "Isaac Lab on OVPhysX",
    VERSIONS,
    {
        "isaaclab.physics:PhysicsManager": ("_sim_time",),
        "isaaclab.managers:ActionTerm": ("_asset",),
        "isaaclab.envs.mdp:JointPositionAction": ("_joint_ids",),
        "isaaclab.actuators:ActuatorCollection": ("_implicit_executor", "_execution_actuators"),
        "isaaclab_ov.physics:OvPhysxManager": ("backend", "kinematics_dirty", "get_scene_data_backend"),
        "isaaclab_ov.physics.ovphysx_manager:OvPhysxBackend": ("physx",),
        "isaaclab_ov.physics.ovphysx_manager:OvPhysxSceneDataBackend": ("transforms_timestamp",),
        "isaaclab_ov.sim.views:OvPhysxView": ("binding_for", "prim_paths"),
        "isaaclab_ov.assets.articulation.articulation_data:ArticulationData": (
            "_sim_timestamp",
            "_joint_acc",
            "_previous_joint_vel",
            "_refresh_joint_vel",
            "_reset_pose",
            "_reset_velocity",
        ),
        "isaaclab_ov.assets.rigid_object.rigid_object_data:RigidObjectData": ("_sim_timestamp",),
        "isaaclab_ov.assets.rigid_object_collection.rigid_object_collection_data:RigidObjectCollectionData": (
            "_sim_timestamp",
        ),
        "isaaclab_ov.sensors.contact_sensor.contact_sensor:ContactSensor": (
            "_data",
            "_data_dirty",
            "_device",
            "_history_length",
            "_is_outdated",
            "_net_friction_forces_flat_buf",
            "_net_normal_forces_flat_buf",
            "_num_envs",
            "_reset_mask",
            "_timestamp",
            "_timestamp_last_update",
        ),
        "isaaclab_ov.sensors.contact_sensor.contact_sensor_data:ContactSensorData": [f"_{x}" for x in CONTACT_BUFFERS],
        "ovphysx._dlpack_utils": ("acquire_dltensor", "copy_dltensor"),
    },
    {
        "isaaclab.sensors.kernels:update_timestamp_kernel": (*_CLOCK, "dt", "update_period"),
        "isaaclab.sensors.kernels:update_outdated_envs_kernel": _CLOCK,
        "isaaclab.sensors.kernels:reset_envs_kernel": ("reset_mask", *_CLOCK),
        "isaaclab_ov.sensors.contact_sensor.kernels:update_net_forces_ovphysx_kernel": (
            *_FLAT,
            "mask",
            *_SIZES,
            *_CLOCK[1:],
            *_UPDATED,
        ),
        "isaaclab_ov.sensors.contact_sensor.kernels:reset_contact_sensor_kernel": (
            "history_length",
            "num_filter_objects",
            "env_mask",
            *_UPDATED[:4],
            *_TIMES,
            "friction_force_matrix_w",
            "friction_force_matrix_w_history",
            "contact_pos_w",
            *_UPDATED[8:14],
        ),
        "isaaclab_ov.assets.articulation.kernels:_fd_joint_acc": ("cur_vel", "prev_vel", "inv_dt", "out"),
    },
)
"""For `stepping.Held`, `contacts`, and the short ways of `state`. Without them Isaac Lab's own ways are taken."""

COLLECTIONS = Home(
    "Isaac Lab on OVPhysX",
    VERSIONS,
    {
        "isaaclab_ov.assets:RigidObjectCollection": ("_get_binding",),
        "isaaclab_ov.assets.rigid_object_collection.rigid_object_collection_data:RigidObjectCollectionData": (
            "_get_binding",
            "_read_view_scratch",
        ),
    },
)
"""For `layout`, which mends a fault: there is no other way."""

"""A factor's value really reaches the engine: read back from it, or seen in how bodies move."""

import pytest

import tasks
from tests.helpers.simulation import run

pytestmark = pytest.mark.sim

SCRIPT = """
import warp as wp
from tasks.spec import Factor
values = {values!r}
env = tasks.get({task!r}).build(4, "cpu", {engine!r})
names = [factor.name for factor in env.spec.factors]
row = torch.tensor([factor.nominal for factor in env.spec.factors]).repeat(4, 1)
for name, value in values.items():
    row[2:, names.index(name)] = value  # rows 0 and 1 stay nominal
env.set_sampler(lambda env_ids: (torch.zeros(len(env_ids)), row[env_ids.long()]))
env.reset(0)
robot = env.scene["robot"]
if {engine!r} == "ovphysx":
    from isaaclab_ov import tensor_types as tt
    def read(name, asset=robot):
        kind = dict(mass=tt.BODY_MASS, inertia=tt.BODY_INERTIA, com=tt.BODY_COM_POSE, gain=tt.DOF_STIFFNESS,
            damping=tt.DOF_DAMPING, armature=tt.DOF_ARMATURE, effort=tt.DOF_MAX_FORCE,
            friction=tt.SHAPE_FRICTION_AND_RESTITUTION)[name]
        value = wp.to_torch(asset.root_view.get_attribute(kind)).reshape(4, -1)
        return value
else:
    model = env.physics_manager.get_model()
    def read(name, asset=robot):
        kind = dict(mass="body_mass", inertia="body_inertia", com="body_com", gain="joint_target_ke",
            damping="joint_target_kd", armature="joint_armature", effort="joint_effort_limit",
            friction="shape_material_mu")[name]
        return wp.to_torch(asset._root_view.get_attribute(kind, model)[:, 0]).reshape(4, -1)
def ratio(name):
    value = read(name)
    assert torch.allclose(value[0], value[1]) and torch.allclose(value[2], value[3]), name
    used = value[0].abs() > 1e-6
    return (value[2][used] / value[0][used]).tolist()
"""

LEGGED = {
    "mass": 1.3,
    "friction": 0.5,
    "joint_gain": 0.8,
    "strength": 0.7,
    "armature": 2.0,
    "joint_damping": 0.4,
    "centre_of_mass": 0.05,
    "payload": 2.0,
}


@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_what_is_read_back_from_the_engine(engine):
    found = run(
        SCRIPT.format(task="go2-velocity", engine=engine, values=LEGGED | {"gravity": 0.5})
        + """
report(gain=ratio("gain"), effort=ratio("effort"), armature=ratio("armature"))
mass, damping = read("mass"), read("damping")
com = read("com").reshape(4, robot.num_bodies, -1)[..., :3]  # PhysX adds the axes of inertia, in any order
base = robot.body_names.index("base")
report(mass=mass.tolist(), base=int(mass[0].argmax()), damping=(damping[2] - damping[0]).tolist())
report(com=(com[2] - com[0]).abs().max().item(), inertia=ratio("inertia"), friction=ratio("friction"))

# Falling freely shows gravity, and none of the other factors; nothing turns, however fast the robot flies.
pose, velocity = robot.data.root_pose_w.torch.clone(), torch.zeros(4, 6)
pose[:, 2] += 5.0
velocity[:, 0] = 3.0
robot.write_root_pose_to_sim_index(root_pose=pose)
robot.write_root_velocity_to_sim_index(root_velocity=velocity)
robot.write_joint_position_to_sim_index(position=robot.data.default_joint_pos.torch)
robot.write_joint_velocity_to_sim_index(velocity=torch.zeros(4, 12))
def speed():  # of the centre of mass of all of the robot
    return (mass * robot.data.body_com_vel_w.torch[..., 2]).sum(-1) / mass.sum(-1)
mass = robot.data.body_mass.torch
env.step(torch.zeros(4, 12))
before = speed()
for _ in range(5):
    env.step(torch.zeros(4, 12))
report(fall=((speed() - before) / (5 * env.spec.control_dt)).tolist())
report(turn=robot.data.body_com_vel_w.torch[..., 3:].abs().amax((1, 2)).tolist())
if {engine!r} == "ovphysx":  # forces on the root alone take a shorter way
    from tasks.isaaclab.ovphysx.forces import Direct
    root, links = Direct(robot, env.spec.physics_dt), Direct(robot, env.spec.physics_dt)
    links.include([1])
    apart = []
    for step in range(4):
        root.hand_over(step)
        links.hand_over(step)
        apart.append((root._at[:, 0] - links._at[:, 0]).abs().max().item())
    report(apart=max(apart), readings=[len(contacts._reads) for contacts in env._env._physics._contacts])
env.close()
""".replace("{engine!r}", repr(engine))
    )
    assert found["gain"] == pytest.approx([0.8] * 12, rel=1e-4)
    assert found["effort"] == pytest.approx([0.7] * 12, rel=1e-4)
    assert found["armature"] == pytest.approx([2.0] * 12, rel=1e-4)
    assert found["inertia"] == pytest.approx([1.3] * len(found["inertia"]), rel=1e-3)
    nominal, changed = found["mass"][0], found["mass"][2]
    for body, (a, b) in enumerate(zip(nominal, changed, strict=True)):
        assert b == pytest.approx(1.3 * a + (2.0 if body == found["base"] else 0.0), rel=1e-4)
    assert found["damping"] == pytest.approx([0.4] * 12, rel=1e-3)
    assert found["com"] == pytest.approx(0.05, rel=1e-3)
    friction = found["friction"]
    assert friction == pytest.approx([0.5] * len(friction), rel=1e-4)
    assert found["fall"][:2] == pytest.approx([-9.81] * 2, rel=0.02)
    assert found["fall"][2:] == pytest.approx([-4.9] * 2, rel=0.02)
    assert max(found["turn"]) < 0.01  # [rad/s]
    assert found.get("apart", 0.0) < 1e-5
    assert found.get("readings", [1]) == [1]  # of feet: normal forces alone


@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_objects_and_loads_of_an_arm(engine):
    found = run(
        SCRIPT.format(task="franka-push", engine=engine, values={"object_mass": 1.5, "payload": 3.0})
        + """
objects = env.scene["objects"]
mass = objects.data.body_mass.torch
report(object_mass=(mass[2] / mass[0]).tolist())
for _ in range(25):
    env.step(torch.zeros(4, env.spec.action_dim))
height = robot.data.body_pos_w.torch[:, robot.body_names.index("panda_link7"), 2]
report(sag=(height[:2].mean() - height[2:].mean()).item(), finite=bool(height.isfinite().all()))
env.close()
"""
    )
    assert found["object_mass"] == pytest.approx([1.5] * len(found["object_mass"]), rel=1e-4)
    assert found["finite"]
    assert found["sag"] > 0.002


@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_pushes_and_the_pole_of_each_grade(engine):
    """One simulation: what a grade makes of the pole is what factors start from, whichever of them changes."""
    found = run(
        SCRIPT.format(task="cartpole-balance", engine=engine, values={"push_force": 10.0, "pole_mass": 2.0})
        + """
def apart(steps):
    far = 0.0
    for _ in range(steps):
        obs = env.step(torch.zeros(4, 1))[0]
        far = max(far, (obs[2:, 0] - obs[:2, 0]).abs().max().item())
    return far
mass = read("mass")
report(ratio=(mass[2] / mass[0]).tolist(), moved=apart(200))

nominal = torch.tensor([factor.nominal for factor in env.spec.factors])
def give(levels, **values):
    factors = nominal.repeat(4, 1)
    for name, value in values.items():
        factors[:, names.index(name)] = torch.tensor(value)
    env.set_sampler(lambda ids: (torch.tensor(levels)[ids.long()], factors[ids.long()]))
def pole():
    body = robot.body_names.index("pole")
    mass, com, inertia = (read(name).reshape(4, robot.num_bodies, -1)[:, body] for name in ("mass", "com", "inertia"))
    return torch.cat((mass, com[:, :3], inertia[:, ::4]), dim=1).tolist()

give([0.0, 0.0, 0.0, 0.0])
env.reset(0)
report(built=pole())
give([0.0, 0.3, 0.5, 1.0])
env.reset(0)
report(graded=pole())
give([1.0, 0.5, 0.5, 0.0], pole_mass=[1.0, 2.0, 0.5, 2.0], centre_of_mass=[0.1, 0.0, 0.2, -0.1])
env.reset(0)
report(both=pole())
give([0.25, 0.75, 1.0, 1.0])
env._set_age(torch.tensor([env.spec.max_episode_steps - 1] * 2 + [0] * 2))
env.step(torch.zeros(4, 1))
report(partly=pole())
give([0.0, 0.0, 0.0, 0.0])
env.reset(0)
report(again=pole())

# The cart of so much mass is as good as fixed, and the time to fall goes with the root of the length alone.
give([0.0, 0.25, 0.5, 1.0], cart_mass=[1e4] * 4)
env.reset(0)
joint = robot.joint_names.index("cart_to_pole")
robot.write_joint_position_to_sim_index(position=torch.full((4, 1), 0.1), joint_ids=[joint])
robot.write_joint_velocity_to_sim_index(velocity=torch.zeros(4, robot.num_joints))
angle, fell = torch.full((4,), 0.1), torch.zeros(4)
for step in range(80):
    env.step(torch.zeros(4, 1))
    before, angle = angle, robot.data.joint_pos.torch[:, joint].clone()
    now = (before < 1.0) & (angle >= 1.0) & (fell == 0.0)
    fell = torch.where(now, step + (1.0 - before) / (angle - before), fell)
report(fell=fell.tolist())
env.close()
"""
    )
    assert sorted(found["ratio"]) == pytest.approx([1.0, 1.0, 2.0])
    assert found["moved"] > 0.01

    mass, *com, xx, yy, zz = found["built"][0]
    assert [mass, *com] == pytest.approx([1.0, 0.0, 0.0, 0.47], abs=1e-6)
    grades = tasks.get("cartpole-balance").grades

    def pole(level, factor=1.0, shift=0.0):
        length = grades["pole_length"].at(level)
        mass = length * grades["pole_density"].at(level) * factor
        return pytest.approx([mass, shift, 0.0, 0.47 * length, *(mass * length**2 * i for i in (xx, yy, zz))], rel=1e-5)

    assert found["graded"] == [pole(0.0), pole(0.3), pole(0.5), pole(1.0)]
    last = [pole(0.5, 0.5, 0.2), pole(0.0, 2.0, -0.1)]
    assert found["both"] == [pole(1.0, 1.0, 0.1), pole(0.5, 2.0), *last]
    assert found["partly"] == [pole(0.25), pole(0.75), *last]
    assert found["again"] == found["built"]
    times = [time / found["fell"][0] for time in found["fell"]]
    assert times == pytest.approx([grades["pole_length"].at(level) ** 0.5 for level in (0.0, 0.25, 0.5, 1.0)], rel=0.01)


@pytest.mark.parametrize("engine", ["ovphysx", "newton_mjwarp"])
def test_each_episode_of_each_env_has_what_was_drawn_for_it(engine):
    """Rows end one by one: masses and gains are read back from the engine."""
    found = run(
        SCRIPT.format(task="franka-push", engine=engine, values={})
        + """
import curricula
n = 4
teacher = curricula.make(curricula.config.load("none"), env.spec, "r3", n, "cpu", 0)
drawn = {}
def sampler(env_ids):
    difficulty, factors = teacher.sample(env_ids.long())
    drawn.update(zip(env_ids.tolist(), factors.clone()))
    return difficulty, factors
env.set_sampler(sampler, [factor.name for factor in env.spec.factors if not factor.held_out])
env.reset(0)
gain = read("gain") / env.factor("joint_gain")[:, None]  # as built
wrong, seen = 0, 0
for step in range(12):
    age = torch.zeros(n, dtype=torch.long)
    age[step % n] = env.spec.max_episode_steps - 1
    env._set_age(age)
    before = env.factors.clone()
    extras = env.step(torch.zeros(n, env.spec.action_dim))[4]
    seen += int(torch.equal(extras["factors"], before))
    wrong += int(not torch.equal(env.factors, torch.stack([drawn[k] for k in range(n)])))
    changed = (env.factors != before).any(1)
    wrong += int(changed.nonzero().flatten().tolist() != [step % n])
    wrong += int(not torch.allclose(read("gain"), gain * env.factor("joint_gain")[:, None], rtol=1e-4))
    mass = read("mass").clone()
    hand = robot.body_names.index(next(f.on for f in env.spec.factors if f.name == "payload").partition(":")[2])
    mass[:, hand] -= env.factor("payload")
    scale = mass / env.factor("mass")[:, None]
    wrong += int(not torch.allclose(scale, scale[:1].expand(n, -1), rtol=1e-4))
report(wrong=wrong, seen=seen, spread=env.factor("mass").std().item())
env.close()
"""
    )
    assert found["wrong"] == 0
    assert found["seen"] == 12
    assert found["spread"] > 0.01


def test_every_robot_task_declares_enough_factors():
    for name in tasks.names():
        spec = tasks.get(name)
        if not spec.factors:
            continue
        assert len(spec.factors) >= 10, name
        assert {factor.category for factor in spec.factors} == {"physical", "dynamics", "sensor", "disturbance"}, name
        assert sum(factor.held_out for factor in spec.factors) >= 3, name

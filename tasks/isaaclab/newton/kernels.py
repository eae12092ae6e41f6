"""Kernels that compute constants of MuJoCo-Warp's model for the worlds in `changed`; see `model.py` beside this."""

import mujoco
import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def note(
    nbody: int,
    mass: wp.array2d[float],
    position: wp.array2d[wp.vec3],
    turn: wp.array2d[wp.quat],
    inertia: wp.array2d[wp.vec3],
    armature: wp.array2d[float],
    kept_mass: wp.array2d[float],
    kept_position: wp.array2d[wp.vec3],
    kept_turn: wp.array2d[wp.quat],
    kept_inertia: wp.array2d[wp.vec3],
    kept_armature: wp.array2d[float],
    changed: wp.array[int],
):
    """Note in `changed` the worlds whose inputs are not the kept ones, and keep them."""
    world, k = wp.tid()
    if k < nbody:
        same = mass[world, k] == kept_mass[world, k] and position[world, k] == kept_position[world, k]
        if same and turn[world, k] == kept_turn[world, k] and inertia[world, k] == kept_inertia[world, k]:
            return
        kept_mass[world, k] = mass[world, k]
        kept_position[world, k] = position[world, k]
        kept_turn[world, k] = turn[world, k]
        kept_inertia[world, k] = inertia[world, k]
    else:
        dof = k - nbody
        if armature[world, dof] == kept_armature[world, dof]:
            return
        kept_armature[world, dof] = armature[world, dof]
    changed[world] = 1


@wp.kernel
def place(
    changed: wp.array[int],
    inside: wp.array2d[int],
    frame: wp.array[wp.quatd],
    mass: wp.array2d[float],
    position: wp.array2d[wp.vec3],
    turn: wp.array2d[wp.quat],
    inertia: wp.array2d[wp.vec3],
    offset_out: wp.array2d[wp.vec3d],
    inertia_out: wp.array2d[wp.mat33d],
    subtree_out: wp.array2d[float],
):
    """Centres of mass from the bodies' origins, inertias, both in the world's axes, and masses of subtrees."""
    world, body = wp.tid()
    if changed[world] == 0:
        return
    p, q, i = position[world, body], turn[world, body], inertia[world, body]  # MuJoCo's quaternions have w first
    own = wp.quatd(wp.float64(q[1]), wp.float64(q[2]), wp.float64(q[3]), wp.float64(q[0]))
    offset_out[world, body] = wp.quat_rotate(
        frame[body], wp.vec3d(wp.float64(p[0]), wp.float64(p[1]), wp.float64(p[2]))
    )
    axes = wp.quat_to_matrix(frame[body] * own)
    principal = wp.diag(wp.vec3d(wp.float64(i[0]), wp.float64(i[1]), wp.float64(i[2])))
    inertia_out[world, body] = axes * principal * wp.transpose(axes)
    total = wp.float32(0.0)
    for other in range(inside.shape[1]):
        if inside[body, other] != 0:
            total += mass[world, other]
    subtree_out[world, body] = total


@wp.kernel
def fill(
    changed: wp.array[int],
    first: wp.array[int],
    linear: wp.array2d[wp.vec3d],
    angular: wp.array2d[wp.vec3d],
    span: wp.array[wp.vec2i],
    mass: wp.array2d[float],
    offset: wp.array2d[wp.vec3d],
    inertia: wp.array2d[wp.mat33d],
    armature: wp.array2d[float],
    matrix: wp.array3d[wp.float64],
):
    """The lower half of the mass matrix."""
    world, i, j = wp.tid()
    if changed[world] == 0 or j > i:
        return
    total = wp.float64(0.0)
    if j >= first[i]:
        for body in range(span.shape[0]):
            if j >= span[body][0] and i < span[body][1]:
                wi, wj = angular[body, i], angular[body, j]
                vi = linear[body, i] + wp.cross(wi, offset[world, body])
                vj = linear[body, j] + wp.cross(wj, offset[world, body])
                total += wp.float64(mass[world, body]) * wp.dot(vi, vj) + wp.dot(wi, inertia[world, body] * wj)
    if i == j:
        total += wp.float64(armature[world, i])
    matrix[world, i, j] = total


@wp.kernel
def factor(
    changed: wp.array[int],
    first: wp.array[int],
    matrix: wp.array3d[wp.float64],
    mean: wp.array[float],
):
    """Cholesky's lower factor in place of the lower half of a symmetric matrix."""
    world = wp.tid()
    if changed[world] == 0:
        return
    nv = matrix.shape[1]
    trace = wp.float64(0.0)
    for i in range(nv):
        trace += matrix[world, i, i]
        for j in range(first[i], i + 1):
            rest = matrix[world, i, j]
            for k in range(wp.max(first[i], first[j]), j):
                rest -= matrix[world, i, k] * matrix[world, j, k]
            if i == j:
                matrix[world, i, i] = wp.sqrt(rest)
            else:
                matrix[world, i, j] = rest / matrix[world, j, j]
    mean[world] = float(trace / wp.float64(nv))


@wp.kernel
def invert(changed: wp.array[int], factor: wp.array3d[wp.float64], inverse: wp.array3d[wp.float64]):
    """Row `c` of the inverse of the matrix with that lower factor."""
    world, c = wp.tid()
    if changed[world] == 0:
        return
    nv = factor.shape[1]
    for i in range(c):
        inverse[world, c, i] = wp.float64(0.0)
    for i in range(c, nv):
        rest = wp.float64(0.0)
        if i == c:
            rest = wp.float64(1.0)
        for k in range(c, i):
            rest -= factor[world, i, k] * inverse[world, c, k]
        inverse[world, c, i] = rest / factor[world, i, i]
    for back in range(nv):
        i = nv - 1 - back
        rest = inverse[world, c, i]
        for k in range(i + 1, nv):
            rest -= factor[world, k, i] * inverse[world, c, k]
        inverse[world, c, i] = rest / factor[world, i, i]


@wp.kernel
def weigh_dofs(
    changed: wp.array[int],
    means: wp.array[wp.vec2i],
    inverse: wp.array3d[wp.float64],
    weights: wp.array2d[float],
):
    """Means of the inverse's diagonal."""
    world, dof = wp.tid()
    if changed[world] == 0:
        return
    total = wp.float64(0.0)
    for k in range(means[dof][1]):
        total += inverse[world, means[dof][0] + k, means[dof][0] + k]
    weights[world, dof] = float(total / wp.float64(means[dof][1]))


@wp.kernel
def weigh_bodies(
    changed: wp.array[int],
    linear: wp.array2d[wp.vec3d],
    angular: wp.array2d[wp.vec3d],
    span: wp.array[wp.vec2i],
    fixed: wp.array[bool],
    offset: wp.array2d[wp.vec3d],
    inverse: wp.array3d[wp.float64],
    weights: wp.array2d[wp.vec2],
):
    """Means of the diagonal of J inv(M) J', for moving and for turning; what only does one has one weight for both."""
    world, body = wp.tid()
    if changed[world] == 0 or fixed[body]:
        return
    moves = wp.float64(0.0)
    turns = wp.float64(0.0)
    for i in range(span[body][0], span[body][1]):
        wi = angular[body, i]
        vi = linear[body, i] + wp.cross(wi, offset[world, body])
        v = wp.vec3d(wp.float64(0.0), wp.float64(0.0), wp.float64(0.0))
        w = wp.vec3d(wp.float64(0.0), wp.float64(0.0), wp.float64(0.0))
        for j in range(span[body][0], span[body][1]):
            wj = angular[body, j]
            v += inverse[world, i, j] * (linear[body, j] + wp.cross(wj, offset[world, body]))
            w += inverse[world, i, j] * wj
        moves += wp.dot(vi, v)
        turns += wp.dot(wi, w)
    move, turn = float(moves) / 3.0, float(turns) / 3.0
    if move < wp.static(mujoco.mjMINVAL):
        move = turn
    elif turn < wp.static(mujoco.mjMINVAL):
        turn = move
    weights[world, body] = wp.vec2(move, turn)

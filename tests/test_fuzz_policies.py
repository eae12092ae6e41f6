"""Policy files that are damaged or hostile: they can act, or they are refused in one line, and never anything else."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import tasks
from baselines.policy_file import PolicyError, load_policy
from leaderboard.submissions import policy_file
from suite.untrusted import Unusable

SPEC = tasks.get("toy-reach")
ACTOR = {
    **{"format": 1, "kind": "mlp", "layers": [["linear", 6, 3], ["layer_norm", 3], ["elu"], ["linear", 3, 2]]},
    **{"squash": "clip", "obs_dim": 6},
}
CHOOSER = {"format": 1, "kind": "discrete", "layers": [["linear", 6, 4], ["tanh"]]}
REFERENCE = {"format": 1, "kind": "random", "obs_dim": 6, "action_dim": 2, "seed": 0}
TENSORS = {
    **{"net.0.weight": np.ones((3, 6), np.float32), "net.0.bias": np.ones(3, np.float32)},
    **{"net.1.weight": np.ones(3, np.float32), "net.1.bias": np.ones(3, np.float32)},
    **{"net.3.weight": np.ones((2, 3), np.float32), "net.3.bias": np.ones(2, np.float32)},
    **{"obs_mean": np.zeros(6), "obs_var": np.ones(6)},
}
Q_VALUES = {
    **{"net.0.weight": np.ones((4, 6), np.float32), "net.0.bias": np.ones(4, np.float32)},
    "actions": np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2),
}
SOUND = [
    save(tensors, {"gradus": json.dumps(header)})
    for tensors, header in ((TENSORS, ACTOR), (Q_VALUES, CHOOSER), ({}, REFERENCE))
]
DTYPES = ["F32", "F64", "F16", "BF16", "F8_E4M3", "I64", "I8", "U8", "BOOL", "C64", "f32", "", "X"]
NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 4, 6, -1, 2.0, 6.0, 1e308, 2**14, 2**20, 2**31, 2**63, 2**64, 10**40, True, None]
)
VALUES = st.recursive(
    NUMBERS
    | st.sampled_from(["mlp", "discrete", "zero", "random", "tanh", "clip", "linear", "layer_norm", "", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*ACTOR, "seed", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("policies") / "policy.safetensors"


def outcome(function, error):
    """What a function returns, and what it says where it raises `error`, the only one that it may raise."""
    try:
        return function(), ""
    except error as raised:
        return None, str(raised)


def judge(file, data):
    """Both readers of a policy file say the same of `data`, as they promise."""
    file.write_bytes(data)
    kind, refused = outcome(lambda: policy_file.check(file, SPEC), Unusable)
    policy, unusable = outcome(lambda: load_policy(file, "cpu"), PolicyError)
    assert "\n" not in refused + unusable
    fits = kind is not None
    if unusable:
        assert not fits
    if fits:
        action = policy(torch.zeros(3, SPEC.obs_dim))
        assert action.shape == (3, SPEC.action_dim)
        assert action.dtype == torch.float32
        assert (action.isnan() | (action.abs() <= 1)).all()


@given(
    data=st.sampled_from(SOUND),
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["set", "cut", "put"]), st.binary(max_size=9)), max_size=4
    ),
)
def test_changed_bytes(file, data, edits):
    for where, how, new in edits:
        at = int(where * len(data))
        behind = {"set": at + len(new), "cut": at + 5 * len(new), "put": at}[how]
        data = data[:at] + (b"" if how == "cut" else new) + data[behind:]
    judge(file, data)


@given(
    whole=st.sampled_from([(TENSORS, ACTOR), (Q_VALUES, CHOOSER), ({}, REFERENCE)]),
    changes=st.dictionaries(st.sampled_from([*ACTOR, "seed", "action_dim", "more"]), VALUES, max_size=2),
    gone=st.sampled_from([None, *ACTOR, "seed"]),
)
def test_wrong_types_in_the_header(file, whole, changes, gone):
    tensors, header = whole
    header = {key: value for key, value in (header | changes).items() if key != gone}
    judge(file, save(tensors, {"gradus": json.dumps(header)}))


@given(
    text=st.text(max_size=40) | VALUES.map(json.dumps) | st.sampled_from(["[" * 9999, '{"a":' * 9999, "NaN", "1e999"])
)
def test_another_header(file, text):
    judge(file, save({}, {"gradus": text.encode(errors="replace").decode()}))


@given(
    name=st.sampled_from([*TENSORS, "actions", "net.9.weight", "__metadata__", "gradus"]),
    dtype=st.sampled_from(DTYPES) | VALUES,
    shape=st.lists(NUMBERS, max_size=3) | VALUES,
    offsets=st.lists(NUMBERS, max_size=3) | st.sampled_from([[0, 72], [72, 0], [0, 10**6]]),
    metadata=st.sampled_from([{"gradus": json.dumps(ACTOR)}, {"gradus": 1}, {}, None, [], "x"]),
)
def test_other_tables_of_contents(file, name, dtype, shape, offsets, metadata):
    """The container's own JSON lies about types, shapes and places."""
    length = struct.unpack("<Q", SOUND[0][:8])[0]
    contents = json.loads(SOUND[0][8 : 8 + length]) | {"__metadata__": metadata}
    contents[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    text = json.dumps(contents).encode()
    judge(file, struct.pack("<Q", len(text)) + text + SOUND[0][8 + length :])


@given(
    name=st.sampled_from([*TENSORS, "actions"]),
    values=st.sampled_from([np.nan, np.inf, -np.inf, 3e38, 1e308, 5e-324, -1.0, 20.0]),
    shape=st.sampled_from([(), (0,), (3,), (6,), (2, 3), (3, 6), (4, 2), (4, 0), (1, 1, 1)]),
    dtype=st.sampled_from([np.float32, np.float64, np.float16, np.int32, np.bool_]),
    of=st.sampled_from([(TENSORS, ACTOR), (Q_VALUES, CHOOSER)]),
)
def test_other_tensors(file, name, values, shape, dtype, of):
    tensors, header = of
    with np.errstate(all="ignore"):
        tensors = tensors | {name: np.full(shape, values).astype(dtype)}
    judge(file, save(tensors, {"gradus": json.dumps(header)}))

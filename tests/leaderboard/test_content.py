"""Copies are found by what they hold, not by the bytes of their files."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save

from leaderboard.data.content import content_hash, episodes_hash, policy_hash
from tests.helpers.toy_runs import spring_run


def test_equal_values_have_one_hash():
    one = content_hash({"a": np.array([1.0, 0.0, np.nan]), "b": np.array(["x", "y"])})
    other = {"b": np.array(["x", "y"], object), "a": np.array([1.0 + 1e-12, -0.0, -np.nan])}
    assert content_hash(other) == one
    for different in ({"a": np.array([1.0, 0.0])}, other | {"b": np.array(["xy", ""])}, other | {"a": np.ones((3, 1))}):
        assert content_hash(different) != one


def test_another_writer_and_another_name_make_no_other_episodes(tmp_path):
    table = pq.read_table(spring_run() / "episodes.parquet")
    wanted = episodes_hash("toy-reach", table)
    pq.write_table(table, tmp_path / "again.parquet", row_group_size=7, compression="none", use_dictionary=False)
    again = pq.read_table(tmp_path / "again.parquet")
    renamed = again.set_column(again.column_names.index("algo"), "algo", pa.array(["mine"] * again.num_rows))
    nudged = renamed.set_column(
        renamed.column_names.index("difficulty"), "difficulty", pa.array(renamed["difficulty"].to_numpy() + 1e-9)
    )
    assert episodes_hash("toy-reach", nudged) == wanted
    returns = again["return"].to_numpy().copy()
    returns[3] += 0.1
    other = again.set_column(again.column_names.index("return"), "return", pa.array(returns))
    assert episodes_hash("toy-reach", other) != wanted
    assert episodes_hash("toy-line", again) != wanted


def test_an_idle_layer_and_another_type_make_no_other_policy(tmp_path):
    tensors = {"net.0.weight": np.ones((2, 6), np.float32), "net.2.bias": np.zeros(2, np.float32)}
    moved = {"net.0.weight": np.ones((2, 6)), "net.11.bias": np.zeros(2)}
    hashes = []
    for i, content in enumerate((tensors, moved, {}, {"net.0.weight": np.zeros((2, 6), np.float32)})):
        file = tmp_path / f"{i}.safetensors"
        file.write_bytes(save(content, {"gradus": json.dumps({"format": 1})}))
        hashes.append(policy_hash("toy-reach", file))
    assert hashes[0] == hashes[1] != hashes[3]
    assert hashes[2] is None

"""Leases: one holder, successors of the dead, and clocks that do what they like."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from suite import lease
from suite.lease import Claimant, Lease, Lost, highest

DEAD = {"machine": lease._machine(), "pid": os.getpid(), "started": "0"}  # its number was given to another since
ELSEWHERE = {"machine": "another boot", "pid": 1, "started": "1"}


def put(folder, generation, holder):
    (folder / f".lease.{generation}").write_text(json.dumps(holder))


def test_one_holder_at_a_time(tmp_path):
    held = Claimant(tmp_path).claim()
    assert Claimant(tmp_path).claim() is None
    assert not Claimant(tmp_path).free()
    held.give_back()
    assert Claimant(tmp_path).free()
    again = Claimant(tmp_path).claim()
    assert (held.generation, again.generation) == (1, 2)
    assert sorted(os.listdir(tmp_path)) == [".lease.2"]


def test_of_many_at_once_one_succeeds(tmp_path):
    put(tmp_path, 1, DEAD)
    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            won = [held for held in pool.map(lambda _: Claimant(tmp_path).claim(), range(16)) if held]
            assert len(won) == 1
            won[0].give_back()


def test_who_saw_the_past_loses(tmp_path, monkeypatch):
    put(tmp_path, 1, DEAD)
    late = Claimant(tmp_path)
    assert late.free()
    for _ in range(3):
        held = Claimant(tmp_path).claim()
        held.give_back()
    seen = iter([1])  # what it read before the others came and went
    monkeypatch.setattr(lease, "highest", lambda folder: next(seen, None) or highest(folder))
    monkeypatch.setattr(late, "_ended", lambda generation: True)
    assert late.claim() is None
    assert sorted(os.listdir(tmp_path)) == [".lease.4"]


def test_a_dead_process_is_succeeded_at_once_and_a_live_one_never(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 0.0)
    code = "import sys, time; from pathlib import Path; from suite.lease import Claimant;"
    code += "Claimant(Path(sys.argv[1])).claim(); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    holder.stdout.readline()
    claimant = Claimant(tmp_path)
    assert claimant.claim() is None
    assert lease.holder_alive(tmp_path)
    assert claimant.claim() is None  # although it gave no sign of life
    holder.kill()
    holder.wait()
    assert not lease.holder_alive(tmp_path)
    assert claimant.claim().generation == 2


def test_a_holder_elsewhere_is_judged_by_signs_of_life(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    put(tmp_path, 1, ELSEWHERE)
    claimant = Claimant(tmp_path)
    beating = Lease(tmp_path, 1)
    for _ in range(10):
        assert claimant.claim() is None
        now[0] += 0.9 * lease.LEASE_S
        beating.beat()
    assert lease.holder_alive(tmp_path) is None
    assert claimant.claim() is None
    now[0] += 1.1 * lease.LEASE_S
    assert claimant.claim().generation == 2
    now[0] += lease.BEAT_S
    with pytest.raises(Lost, match="taken over"):
        beating.beat()


@pytest.mark.parametrize("step", [-1e9, -1e-3, 0.0])
def test_a_clock_that_goes_backwards_or_stands_still_ends_no_lease(tmp_path, monkeypatch, step):
    clock, now = [2e9], [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(lease.time, "time_ns", lambda: int(clock[0] * 1e9))
    put(tmp_path, 1, ELSEWHERE)
    claimant, beating = Claimant(tmp_path), Lease(tmp_path, 1)
    for _ in range(10):
        beating.beat()
        assert claimant.claim() is None
        clock[0] += step
        now[0] += 0.9 * lease.LEASE_S


def test_handing_over(tmp_path):
    held = Claimant(tmp_path).claim()
    assert held.held_here()
    code = "import sys; from pathlib import Path; from suite.lease import Lease; Lease(Path(sys.argv[1]), 1).adopt()"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert not held.held_here()
    held.beat()  # the one who made it may still keep it
    assert Claimant(tmp_path).claim().generation == 2  # the one who adopted it has ended
    with pytest.raises(Lost):
        Lease(tmp_path, 1).adopt()


def test_giving_back_needs_no_space_and_a_lost_lease_harms_nobody(tmp_path):
    held = Claimant(tmp_path).claim()
    (tmp_path / ".lease.1").unlink()
    held.give_back()
    put(tmp_path, 2, ELSEWHERE)
    with pytest.raises(Lost):
        held.beat()
    assert Claimant(tmp_path).claim() is None


def test_a_damaged_lease_ends_like_a_silent_one(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    (tmp_path / ".lease.3").write_text('{"machine": ')
    claimant = Claimant(tmp_path)
    assert claimant.claim() is None
    now[0] += 2 * lease.LEASE_S
    assert claimant.claim().generation == 4

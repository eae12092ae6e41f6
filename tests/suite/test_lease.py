"""Leases: one holder, successors of the dead, and clocks that do what they like."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from suite.execute import lease
from suite.execute.lease import Claimant, Lease, Lost, highest

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
    code = "import sys, time; from pathlib import Path; from suite.execute.lease import Claimant;"
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
    code = "import sys; from pathlib import Path; from suite.execute.lease import Lease;"
    code += "Lease(Path(sys.argv[1]), 1).adopt()"
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


def test_a_lease_for_which_there_is_no_room_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, *args, **options):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lease.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        Claimant(tmp_path).claim()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text('{"machine": '),
        lambda file: file.write_bytes(b"\xff\xfe\x80"),
        lambda file: file.write_text("[" * 100_000),
        lambda file: file.write_text('{"machine": "m", "pid": "1", "started": 1}'),
        lambda file: file.write_text(json.dumps(DEAD | {"pid": -1})),
        lambda file: file.mkdir(),
        lambda file: file.symlink_to(file),
        lambda file: file.symlink_to("nowhere"),
        os.mkfifo,
    ],
)
def test_a_damaged_lease_ends_like_a_silent_one(tmp_path, monkeypatch, damage):
    now = [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    damage(tmp_path / ".lease.3")
    (tmp_path / ".lease.04").touch()  # no generation that anyone gives
    claimant = Claimant(tmp_path)
    assert claimant.claim() is None
    assert claimant.damaged
    assert lease.holder_alive(tmp_path) is None
    assert not Lease(tmp_path, 3).held_here()
    now[0] += 2 * lease.LEASE_S
    assert claimant.claim().generation == 4


@pytest.mark.parametrize(
    ("kill", "alive"), [(PermissionError, None), (None, None), (ProcessLookupError, False), (OverflowError, False)]
)
def test_a_process_that_proc_hides_is_judged_by_signs_of_life(tmp_path, monkeypatch, kill, alive):
    """As under hidepid: the holder runs, and is another user's."""

    def signal(pid, sig):
        if kill is not None:
            raise kill

    now = [0.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(lease, "PROC", tmp_path / "empty")
    monkeypatch.setattr(lease.os, "kill", signal)
    put(tmp_path, 1, {"machine": lease._machine(), "pid": os.getpid(), "started": "12"})
    claimant, beating = Claimant(tmp_path), Lease(tmp_path, 1)
    assert lease.holder_alive(tmp_path) is alive
    if alive is False:
        assert claimant.claim().generation == 2
        return
    for _ in range(3):
        assert claimant.claim() is None
        now[0] += 0.9 * lease.LEASE_S
        beating.beat()
    assert claimant.claim() is None
    assert not claimant.damaged
    now[0] += 1.1 * lease.LEASE_S
    assert claimant.claim().generation == 2

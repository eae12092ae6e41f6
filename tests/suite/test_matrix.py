"""The plan: which runs a command line means, where they go, and what the catalogue says."""

import dataclasses
import json
import sys
from unittest.mock import MagicMock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

import baselines
import curricula
import suite
import tasks
from suite import doctor
from suite import list as catalogue
from suite.cli import arguments
from suite.errors import UserError
from suite.execute import devices
from suite.plan import config, matrix
from suite.plan.matrix import plan
from suite.tracking import tracker as tracking


def jobs(out, *argv):
    return plan(arguments.parse(["--wandb", "disabled", "--device", "cpu", "--out", str(out), *argv])[0])


def test_matrix_is_the_product_with_seeds_outermost(tmp_path):
    planned = jobs(tmp_path, "--task", "toy-reach", "--algo", "random,ppo,ppo", "--seeds", "3")
    assert [(job.algo, job.seed) for job in planned] == [(a, s) for s in range(3) for a in ("random", "ppo")]
    assert planned[1].run.path == (tmp_path / suite.__version__ / "toy-reach" / "ppo" / "none-r0-torch-smoke" / "seed0")


def test_all_means_the_suite_and_every_algorithm(tmp_path):
    planned = jobs(tmp_path, "--task", "all", "--algo", "all", "--physics", "newton_mjwarp")
    assert {job.task for job in planned} == set(tasks.names())
    assert {job.algo for job in planned} == {*baselines.names(), *baselines.reference_names()}
    assert {job.setting["engine"] for job in planned} == {"newton_mjwarp"}


def test_resolved_configuration(tmp_path):
    (job,) = jobs(tmp_path, "--task", "toy-reach", "--algo", "ppo", "--budget", "quick", "train.num_envs=256")
    resolved = OmegaConf.to_container(job.config("cpu"), resolve=True, throw_on_missing=True)
    assert resolved["train"]["num_envs"] == resolved["agent"]["num_envs"] == 256
    assert resolved["train"]["env_steps"] == resolved["agent"]["env_steps"] == 300_000
    assert resolved["eval"] == {
        "protocol": "quick",
        "episodes_per_grade": 256,
        "episodes_per_cell": 32,
        "episodes_per_env": 2,
        "seed": config.EVALUATION_SEED,
    }
    assert resolved["curriculum"] == {"name": "none", "grade": "g3"}
    assert resolved["engine"] == "torch"
    assert job.overrides == {"train.num_envs": 256}


def test_overrides_name_the_run_only_where_they_change_it(tmp_path):
    base = ["--task", "toy-reach", "--algo", "ppo,random"]
    plain = jobs(tmp_path, *base)
    same = jobs(tmp_path, *base, f"train.num_envs={plain[0].setting['train']['num_envs']}")
    assert [job.run for job in same] == [job.run for job in plain]
    ppo, random = jobs(tmp_path, *base, "agent.gamma=0.5")
    assert ppo.variant == f"none-r0-torch-smoke-{config.digest({'agent.gamma': 0.5})}"
    assert random.run == plain[1].run  # it has no such setting
    again, _ = jobs(tmp_path, *base, "agent.gamma=5e-1")
    assert again.run == ppo.run


def test_where_and_how_a_run_is_executed_does_not_make_another_run(tmp_path):
    (job,) = jobs(tmp_path, "--task", "toy-reach", "--algo", "ppo")
    job.run.path.mkdir(parents=True)
    config.save(job.config("cuda:3"), job.run)
    (again,) = jobs(tmp_path, "--task", "toy-reach", "--algo", "ppo", "--physics", "newton_mjwarp")
    assert again.run == job.run
    assert config.load(job.run).device == "cuda:3"


@pytest.mark.parametrize(
    ("asked", "device", "gpus", "budget", "why"),
    [
        ("auto", "auto", (), "smoke", "no CUDA GPU"),
        ("auto", "auto", ("A", "B"), "full", "a CUDA GPU"),
        ("auto", "cpu", ("A",), "smoke", "--device cpu"),
        ("quick", "auto", (), "quick", None),
    ],
)
def test_budget_says_why(tmp_path, monkeypatch, asked, device, gpus, budget, why):
    monkeypatch.setattr(devices, "cuda_names", lambda: gpus)
    monkeypatch.setattr(devices, "cuda_faults", dict)
    monkeypatch.setattr(devices, "cores", lambda: 6)
    monkeypatch.setattr(devices, "memory", lambda: 100 * devices.WORKER_BYTES)
    argv = ["--task", "toy-reach", "--algo", "ppo", "--budget", asked, "--device", device, "--out", str(tmp_path)]
    request, execution, notes = arguments.parse([*argv, "--wandb", "disabled"])
    assert request.budget == budget
    assert [note for note in notes if note.startswith("budget")] == ([] if why is None else notes)
    assert why is None or why in notes[0]
    assert len(execution.devices) == (arguments.JOBS_PER_GPU * len(gpus) if device == "auto" and gpus else 6)


def test_claimed_gpu_is_the_only_one_that_is_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert devices.claim("cuda:1") == "cuda:0"
    assert devices.os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    assert devices.claim("cuda:0") == "cuda:0"  # in a process that the first one started
    assert devices.os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    assert devices.claim("cpu") == "cpu"  # and a run on the CPU sees none
    assert devices.os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_wandb_mode_without_a_flag(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    keys = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(keys))
    mode, why = tracking.choose_mode(None)
    assert mode == "disabled"
    assert "not logged in" in why
    keys.write_text("machine api.wandb.ai\n  login user\n  password 0123\n")
    keys.chmod(0o600)
    mode, why = tracking.choose_mode(None)
    assert mode == "online"
    assert str(keys) in why
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking.choose_mode(None)[0] == "offline"
    assert tracking.choose_mode("disabled") == ("disabled", "")


@pytest.mark.parametrize("broken", ["init", "log", "Table"])
def test_wandb_does_not_stop_a_run(tmp_path, monkeypatch, capsys, broken):
    def fail(*args, **options):
        raise ConnectionError("no route to W&B\nat all")

    wandb = MagicMock(**{broken: fail} if broken != "log" else {"init.return_value.log": fail})
    if broken != "init":
        wandb.init.return_value.resumed = False
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    (job,) = jobs(tmp_path, "--task", "toy-reach", "--algo", "zero", "--wandb", "offline")
    job.run.path.mkdir(parents=True)
    pq.write_table(pa.table({"grade": ["g1"], "success": [True], "return": [1.0]}), job.run.episodes)
    tracker = tracking.Tracker()
    tracker.start(job.config("cpu"), job.run)
    tracker.log({"env_steps": 1, "return_mean": 2.0})
    tracker.finish(job.run, {"success": {"g1": 1.0}, "return": {"g1": 1.0}, "episodes": {"g1": 1}, "env_steps": 1}, [])
    assert capsys.readouterr().err == "W&B stopped logging: no route to W&B\n"


def test_doctor_names_the_package_of_a_missing_library(monkeypatch, capsys):
    monkeypatch.setattr("tasks.core.engines.missing_libraries", lambda libraries=None: {"libXt.so.6": "libxt6"})
    assert doctor.main(["--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"python", "torch", "engines", "system_libraries", "disk", "wandb"} <= set(found)
    assert found["system_libraries"]["libXt.so.6"] == {"found": False, "package": "libxt6"}
    assert found["system_libraries"]["libGL.so.1"]["found"]
    assert not found["engines"]["ovphysx"]["available"]
    assert doctor.main([]) == 1
    assert "apt-get install libxt6" in capsys.readouterr().out


def test_catalogue(capsys):
    assert catalogue.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suite_version"] == suite.__version__
    assert [task["name"] for task in found["tasks"]] == tasks.names()
    for task in found["tasks"]:
        assert {"name", "grades", "engines", "factors", "algorithms"} <= set(task)
        assert task["grades"] == ["g1", "g2", "g3", "g4", "g5"]
        assert "ppo" in task["algorithms"]
    assert {"ppo", "random", "zero"} <= set(found["algorithms"])
    assert [teacher["name"] for teacher in found["curricula"]] == curricula.names()
    assert found["randomization_levels"][0] == "r0"
    assert found["budgets"] == ["smoke", "quick", "full"]
    assert catalogue.main([]) == 0
    printed = capsys.readouterr().out
    assert "cartpole-balance" in printed
    assert "arXiv:1910.07113" in printed


def test_a_level_at_which_nothing_moves_is_refused():
    spec = dataclasses.replace(tasks.get("toy-reach"), factors=())
    assert matrix.levels(spec) == ["r0"]
    assert matrix.levels(tasks.get("toy-reach")) == ["r0", "r1", "r2", "r3"]
    with pytest.raises(UserError, match="randomises nothing at level r2; use r0"):
        matrix.check_level(spec, "r2")


def test_a_job_per_teacher_each_with_its_own_settings(tmp_path):
    base = ["--task", "toy-reach", "--algo", "ppo", "--curriculum", "all"]
    planned = jobs(tmp_path, *base)
    assert [job.config("cpu").curriculum.name for job in planned] == curricula.names()
    changed = {job.config("cpu").curriculum.name: job for job in jobs(tmp_path, *base, "curriculum.step=0.2")}
    plain = {job.config("cpu").curriculum.name: job for job in planned}
    with_step = [name for name in curricula.names() if "step" in curricula.config.load(name)]
    assert [name for name in plain if changed[name].run != plain[name].run] == with_step
    assert changed["adr"].overrides == {"curriculum.step": 0.2}
    assert changed["adr"].config("cpu").curriculum.step == 0.2


def test_a_run_directory_of_a_teacher_with_other_settings_is_refused(tmp_path):
    base = ["--task", "toy-reach", "--algo", "ppo", "--curriculum"]
    (adr,) = jobs(tmp_path, *base, "adr")
    adr.run.path.mkdir(parents=True)
    config.save(jobs(tmp_path, *base, "plr")[0].config("cpu"), adr.run)
    with pytest.raises(UserError, match=r"holds a run with other settings \(curriculum"):
        jobs(tmp_path, *base, "adr")

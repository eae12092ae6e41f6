"""The W&B report, up to what would be sent."""

import json

import pytest

from leaderboard import report
from suite.errors import UserError
from tests.helpers.synthetic_runs import write_run


@pytest.fixture
def runs(tmp_path):
    out = tmp_path / "runs"
    for task in ("cartpole-balance", "franka-reach"):
        for seed in range(2):
            write_run(out, task, "ppo", seed, episodes=8, overrides={"agent.note": "a|b <b>*x*"})
        write_run(out, task, "random", episodes=8, trained=False)
    return out


def test_what_is_sent(runs, tmp_path, capsys):
    file = tmp_path / "report.json"
    assert report.main([str(runs), "--wandb", "lab/gradus", "--out", str(file)]) == 0
    assert "6 runs, 2 tasks" in capsys.readouterr().out
    sent = json.loads(file.read_text())
    assert (sent["entity"], sent["project"]) == ("lab", "gradus")
    blocks = sent["spec"]["blocks"]
    grids = [block["metadata"] for block in blocks if block["type"] == "panel-grid"]
    assert [grid["runSets"][0]["name"] for grid in grids] == ["cartpole-balance", "franka-reach"]
    text = json.dumps(grids[0])
    for name in ("success_mean", "return_mean", "success/g5", "curriculum/difficulty_mean", "suite_version", "variant"):
        assert name in text, name
    tables = [block["content"] for block in blocks if block["type"] == "markdown-block"]
    assert tables[0].count("\n") == 3  # two entries
    for table in tables[:3]:
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1
    assert "<b>" not in text + "".join(tables)
    assert "a\\|b &lt;b&gt;\\*x\\*" in tables[0]


def test_refusals(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "login", lambda: None)
    for argv, why in (
        (["--wandb", "gradus"], "needs a login"),
        (["--wandb", "a/b/c"], "ENTITY/PROJECT"),
        (["--wandb", "lab/"], "ENTITY/PROJECT"),
    ):
        with pytest.raises(UserError, match=why):
            report.main([str(runs), *argv])
    with pytest.raises(UserError, match="cannot read runs"):
        report.main([str(tmp_path / "runs" / "nothing"), "--wandb", "gradus", "--out", "x"])


def test_what_wandb_refuses_is_one_line(runs, monkeypatch, capsys):
    monkeypatch.setattr(report, "login", lambda: "here")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)

    def fail(*_):
        raise ConnectionError("no route\nat all")

    monkeypatch.setattr(report, "make", fail)
    assert report.main([str(runs), "--wandb", "lab/gradus"]) == 1
    assert capsys.readouterr().err == "leaderboard.report: W&B did not take the report: no route\n"

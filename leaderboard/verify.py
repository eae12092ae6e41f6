"""`gradus verify BUNDLE`: does a submission hold? Its files, its numbers, and its policies run again."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import suite
from leaderboard.data.schema import LINKS, Unusable
from leaderboard.submissions import bundle, checks, reevaluation, tables
from leaderboard.submissions.checks import Submitted
from leaderboard.submissions.isolation import MEMORY, limited_memory
from suite.cli import app
from suite.cli import options as o
from suite.errors import UserError, exit_code, first_line, printable
from suite.execute import devices, process
from suite.plan.preflight import check_writable
from suite.report import compare
from suite.runs.provenance import machine
from suite.runs.rundir import now, write_json

SCHEMA = 1
CELLS = 10
EXIT = {"accepted": 0, "refused": 1, "undecided": 3}
ENTROPY = re.compile(r"[0-9a-f]{32,128}")


def verify(
    path: Path,
    work: Path,
    *,
    cells: int | None = CELLS,
    device: str = "cpu",
    entropy: str | None = None,
    submitter: str | None = None,
    limit_s: float = reevaluation.LIMIT_S,
) -> dict[str, Any]:
    """The verdict on a bundle: `decision` (accepted, refused or undecided), `reason`, and the evidence.

    Args:
        path: the bundle.
        work: an empty folder; the bundle lies unpacked in `work/bundle` afterwards if it was accepted.
        cells: how many cells are drawn to be run again; None means all of them.
        device: what they are run on.
        entropy: hex digits that decide, with the bundle's hash, which cells; drawn afresh by default.
        submitter: the only submitter that the bundle may name, if given.
        limit_s: how long all evaluations together may take [s].

    Only what follows from the bundle's bytes refuses it. Whatever goes wrong on this machine decides nothing.
    """
    entropy = entropy or secrets.token_hex(32)
    here = machine()
    verdict: dict[str, Any] = {
        "schema": SCHEMA,
        "suite_version": suite.__version__,
        "verified": now(),
        "bundle": path.name,
        "verifier": here,
        "device": device,
    }
    try:
        submitted = _checked(path, work / "bundle", submitter, verdict)
        verdict["runs"] = [_identity(s) for s in submitted]
        return verdict | _rerun(
            submitted, verdict["bundle_sha256"], entropy, cells, device, here, work / "rerun", limit_s
        )
    except Unusable as error:
        return verdict | {"decision": "refused", "reason": str(error)}
    except reevaluation.Undecided as error:
        return verdict | {"decision": "undecided", "reason": str(error)}
    except Exception as error:  # of this machine, or of this code
        traceback.print_exc()
        what = f"{type(error).__name__}: {printable(first_line(error))[:200]}"
        return verdict | {"decision": "undecided", "reason": f"the verification failed on this machine: {what}"}


def _checked(path: Path, folder: Path, submitter: str | None, verdict: dict[str, Any]) -> list[Submitted]:
    """The runs of a bundle, if its files hold; what is known of it meanwhile goes into `verdict`."""
    try:
        with limited_memory():
            opened = bundle.read(path, folder)
            who = opened.manifest["submitter"]
            verdict |= {"bundle_sha256": opened.sha256, **{k: opened.manifest[k] for k in ("division", *bundle.TEXTS)}}
            verdict |= {name: opened.manifest[name] for name in LINKS if name in opened.manifest}
            if submitter is not None and who != submitter:
                raise Unusable(f"the bundle is of submitter {who!r}, the token of {submitter!r}")
            tables.probe(opened.folder)
            return checks.check(opened)
    except MemoryError:
        raise Unusable(f"reading it takes more than {MEMORY // 2**30} GiB") from None


def _identity(s: Submitted) -> dict[str, Any]:
    run = s.run
    return {
        "run": s.name,
        "task": run.task,
        "algo": run.entry.algo,
        "seed": run.seed,
        "env_steps": run.result["env_steps"],
        "policy_sha256": run.result["policy_sha256"],
        "episodes_sha256": run.result["episodes_sha256"],
        "contents": list(s.contents),  # by which a copy is known
        "success": {e.engine: float(e.successes.sum() / e.episodes.sum()) for e in (run.evaluation, *run.others)},
    }


def _rerun(
    submitted: Sequence[Submitted],
    digest: str,
    entropy: str,
    count: int | None,
    device: str,
    here: dict[str, Any],
    work: Path,
    limit_s: float,
) -> dict[str, Any]:
    every = reevaluation.units(submitted)
    drawn = reevaluation.draw(every, len(every) if count is None else count, digest, entropy)
    by_name = {s.name: s for s in submitted}
    # Cells share a simulation, so the whole evaluation that a drawn one is of is repeated, and all of it compared.
    pairs = sorted({(unit.run, unit.engine) for unit in drawn})
    repeated: list[reevaluation.Repeated] = []
    end = time.monotonic() + limit_s
    for name, engine in pairs:
        if (left := end - time.monotonic()) <= 0:
            raise reevaluation.Undecided(f"its evaluations take more than {limit_s / 3600:.2g} h together")
        repeated.append(reevaluation.repeat(by_name[name], engine, device, here, work, left))
    compared = [
        replace(cell, name=f"{r.run} {r.engine} {cell.name}") for r in repeated if r.why_not for cell in r.cells
    ]
    tests = compare.tests(compared) if compared else []
    return {
        **_decide(repeated, tests),
        "sample": {
            "entropy": entropy,
            "drawn": [vars(unit) for unit in drawn],
            "cells": len(every),
            "compared": sum(len(r.cells) for r in repeated),
        },
        "test": _stated(compared, tests),
        "reruns": [r.record() for r in repeated],
        "p_values": [vars(test) for test in tests],
    }


def _decide(repeated: Sequence[reevaluation.Repeated], tests: Sequence[compare.Test]) -> dict[str, str]:
    for r in repeated:
        if r.difference:
            stack = "" if r.why_not else " on the same stack"
            where = f"{r.run} on {r.engine}: run again{stack}, the episodes differ"
            return {"decision": "refused", "reason": f"{where}: {r.difference}"}
    if tests and tests[0].adjusted < compare.ALPHA:
        worst = tests[0]
        p_value = f"p = {worst.p:.2g}, {worst.adjusted:.2g} after Holm's correction, limit {compare.ALPHA:g}"
        return {"decision": "refused", "reason": f"{worst.cell}: run again, {worst.measure} is another ({p_value})"}
    cells = sum(len(r.cells) for r in repeated)
    equal = sum(len(r.cells) for r in repeated if not r.why_not)
    reason = f"{cells} cells run again, {equal} of them equal in every bit"
    return {"decision": "accepted", "reason": reason + ("" if equal == cells else ", the others within chance")}


def _stated(compared: Sequence[compare.Cell], tests: Sequence[compare.Test]) -> dict[str, Any]:
    """The test and what it can see, for whoever reads the verdict."""
    stated: dict[str, Any] = {
        "bitwise": "on the same CPU stack every value of every episode has to be equal",
        "statistical": "elsewhere: the same episodes, and tests of the pairs' success, return and steps over safety"
        " limits, in each cell and over all cells, by signs and (but for success) by means; Holm's correction. No"
        f" return may be {compare.FAR:g} times as large as any of the repetition",
        "not_verified": "how the policy was trained: env steps, times and energy are what the submitter says",
        "alpha": compare.ALPHA,
        "tests": len(tests),
    }
    if tests:
        level = compare.ALPHA / len(tests)  # the strictest of Holm's steps
        sizes = sorted({len(cell.success[0]) for cell in compared})
        stated["forged_episodes_of_a_cell_that_are_found_where_all_others_agree"] = compare.edits(level)
        stated["overstatement_found_with_90_percent_where_nothing_else_agrees"] = {
            f"{n} episodes": compare.detectable(n, level) for n in sizes
        }
    return stated


EXAMPLES = (
    "gradus verify bundle.zip",
    "gradus verify bundle.zip --full --device cuda:0",
    "gradus verify bundle.zip --cells 4 --out verdict.json --unpack runs-of-others",
)


@app.command("leaderboard.verify", EXAMPLES)
def main(
    path: Annotated[Path, o.argument("BUNDLE", "the zip that `gradus submit` wrote")],
    cells: Annotated[int | None, o.option("--cells", "N", f"cells to run again ({CELLS})", parser=o.integer)] = None,
    full: Annotated[bool, o.flag("--full", "run all cells again", o.WHAT)] = False,
    entropy: Annotated[
        str | None, o.option("--entropy", "HEX", "draw the cells that an earlier verdict's entropy gave")
    ] = None,
    submitter: Annotated[str | None, o.option("--submitter", "NAME", "refuse a bundle that names another one")] = None,
    device: o.Device = "auto",
    hours: Annotated[
        float, o.option("--hours", "H", "that all evaluations together may take", o.WHERE, parser=o.number)
    ] = reevaluation.LIMIT_S / 3600,
    out: Annotated[Path | None, o.folder("--out", "FILE", "the verdict (BUNDLE.verdict.json)")] = None,
    unpack: Annotated[Path | None, o.folder("--unpack", "DIR", "put the runs here if they are accepted")] = None,
    as_json: o.Json = False,
) -> int:
    """Verify a submission: its files, its numbers, and its policies, which are run again.

    Exit code: 0 if it is accepted, 1 if it is refused, 2 for a mistake, 3 if this machine cannot tell.
    """
    if full and cells is not None:
        raise UserError("--full runs all cells again; leave out --cells")
    if not path.is_file():
        raise UserError(f"{path} is not a file; make a bundle with python -m leaderboard.submit")
    if cells is not None and cells < 1:
        raise UserError(f"--cells must be 1 or more, got {cells}")
    if entropy is not None and not ENTROPY.fullmatch(entropy):
        raise UserError("--entropy has to be 32 to 128 hex digits, as a verdict has them")
    out = out or path.with_name(f"{path.name}.verdict.json")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file")
    for option, place in (("--out", out), ("--unpack", unpack)):
        if place is not None and not place.parent.is_dir():
            raise UserError(f"{option} {place}: there is no folder {place.parent}")
    if unpack is not None and unpack.exists():
        raise UserError(f"--unpack {unpack} exists; name a new folder")
    if not 0 < hours <= 10_000:
        raise UserError(f"--hours must be more than 0, and 10000 at most, got {hours:g}")
    device = devices.slots(device)[0]
    near = (unpack or out).parent  # beside the result, so that it is moved into place whole
    for folder in {out.parent, near}:
        check_writable(folder)
    with tempfile.TemporaryDirectory(prefix=".verify-", dir=near, ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        verdict = verify(
            path,
            work,
            cells=None if full else cells or CELLS,
            device=device,
            entropy=entropy,
            submitter=submitter,
            limit_s=hours * 3600,
        )
        try:
            if unpack is not None and verdict["decision"] == "accepted":
                shutil.copy(work / "bundle" / "manifest.json", work / "bundle" / "runs" / "manifest.json")
                os.replace(work / "bundle" / "runs", unpack)
            write_json(out, verdict)  # last: where it is, the rest is
        except OSError as error:
            if unpack is not None:
                shutil.rmtree(unpack, ignore_errors=True)
            why = f"cannot write the verdict ({verdict['decision']}: {verdict['reason']})"
            raise UserError(f"{why}: {error.strerror or error}") from None
    print(json.dumps(verdict) if as_json else f"{verdict['decision']}: {verdict['reason']}\nverdict: {out}")
    return EXIT[verdict["decision"]]


if __name__ == "__main__":
    process.follow_parent()
    sys.exit(exit_code("leaderboard.verify", main))

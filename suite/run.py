"""`python -m suite.run`: train and evaluate a matrix of runs, and build the leaderboard page."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from suite import cli, display, report, scheduler
from suite.errors import exit_code
from suite.matrix import plan


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 if every run is complete, 1 if one failed, 130 after Ctrl-C; `UserError` for bad input."""
    request, slots, notes = cli.parse(argv)
    jobs = plan(request)
    cli.check_writable(request.out)  # last: a command that cannot be carried out leaves nothing behind
    for note in notes:
        print(note)
    complete = sum(job.complete for job in jobs)
    where = f"{len(slots)} at a time on {slots[0].partition(':')[0]}"
    print(f"{len(jobs)} runs ({complete} already complete) in {request.out}, {where}", flush=True)
    try:
        tracked = scheduler.execute(jobs, slots, display.choose())
    except KeyboardInterrupt:
        print("\nstopped; the same command continues from the last checkpoints", file=sys.stderr)
        return 130
    report.show(tracked, request.out)
    return 1 if any(t.state == "failed" for t in tracked) else 0


if __name__ == "__main__":
    sys.exit(exit_code("suite.run", main))

"""A job that waits for somebody's approval."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta

from handlers import Job, Run, WaitFor, handles
from tests.app.jobs import QUICK, note
from tests.app.many import PAUSE, may_go


@dataclass(frozen=True)
class PayOut(Job):
    """Pay a customer out. ``holds``: before it waits, until the test says go."""

    order_id: int
    holds: bool = False


@handles(PayOut, retry=QUICK)
def pay_out(job: PayOut, run: Run) -> str:
    """Ask once; then pay, or not."""
    if "approval" not in run.signals:
        run.step("ask", note, f"may order {job.order_id} be paid out?")
        note(f"asked {os.getpid()}")
        while job.holds and not may_go() and not run.token.is_cancelled:
            time.sleep(PAUSE)
        raise WaitFor("approval", timeout=timedelta(days=7))
    answer = run.signals["approval"]
    note(f"{'paid' if answer['approved'] else 'declined'} {job.order_id}: {answer['reason']}")
    return str(answer["reason"])

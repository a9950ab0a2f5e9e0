"""A cohort's steps, where a slot that fails ends the benchmark."""

from __future__ import annotations

from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.report import SlotFailed, StepReport


class SlotBroke(RuntimeError):
    """A slot failed: no figure can be taken."""


def stepped(cohort: Cohort) -> list[StepReport]:
    """One call of `step`, and the optimizer steps that it completed.

    Raises:
        SlotBroke: a slot failed; the message says which and why.
    """
    reports: list[StepReport] = []
    for report in cohort.step():
        if isinstance(report, SlotFailed):
            raise SlotBroke(f"{report.slot}: {report.reason}")
        reports.append(report)
    return reports

"""Whether there are enough examples to learn from.

Ten is what a job needs at all; OpenAI's guide sees clear improvements from 50 to 100 good
examples, and more with every doubling.
"""

from __future__ import annotations

from tunesmith.platform.examples import MINIMUM_EXAMPLES

from .finding import Finding, Severity

FEW = 50
SUGGESTED = 100
BETTER = 1000


def check_enough(rows: int, distinct: int) -> list[Finding]:
    """At most one finding about the number of examples.

    Args:
        rows: of the file.
        distinct: rows without the copies of others, exact and near.
    """
    counted = f"{distinct:,} different examples" + (
        f" ({rows:,} rows with their copies)" if rows != distinct else ""
    )
    details = {"rows": rows, "distinct": distinct, "suggested": SUGGESTED, "better": BETTER}
    if distinct < MINIMUM_EXAMPLES:
        severity = Severity.BLOCKS
        message = f"There are only {counted}; a job needs {MINIMUM_EXAMPLES}."
        advice = f"Collect at least {FEW}, better {SUGGESTED} or more."
    elif distinct < FEW:
        severity = Severity.WARNS
        message = f"There are only {counted}; under {FEW} a model rarely learns more than a tone."
        advice = f"Collect {SUGGESTED} or more."
    elif distinct < SUGGESTED:
        severity = Severity.NOTE
        message = f"There are {counted}; {SUGGESTED} or more are suggested."
        advice = f"Collect more of what the model will really be asked; {BETTER:,} is better still."
    elif distinct < BETTER:
        severity = Severity.NOTE
        message = f"There are {counted}: enough to start with."
        advice = f"{BETTER:,} or more usually do better; add what the tuned model gets wrong."
    else:
        return []
    check = "more_examples" if severity is Severity.NOTE else "too_few_examples"
    return [Finding(check, severity, message, advice, details=details)]

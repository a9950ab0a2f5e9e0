"""The figures of a break-even in words, the same in the API, the terminal and on paper."""

from __future__ import annotations

from .break_even import MAX_MONTHS, SAVING_MONTHS, BreakEven, Outlook


def money(amount: float, currency: str) -> str:
    """An amount: $1,250, -$3.50, 1,250 SEK."""
    size = abs(amount)
    digits = 2 if 0 < size < 100 and not size.is_integer() else 0
    text = f"{size:.2g}" if 0 < size < 0.005 else f"{size:,.{digits}f}"
    sign = "-" if amount < 0 and text.strip("0.,") else ""
    symbol = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {currency}"


def months(count: float) -> str:
    """A number of months: 8, 15.6, less than 0.1."""
    if 0 < count < 0.1:
        return "less than 0.1"
    return f"{count:,.1f}".removesuffix(".0")


def summary(found: BreakEven, currency: str) -> list[str]:
    """What a person needs to know, a sentence each."""
    middle = found.cases["middle"]
    lines = [_break_even_sentence(found)]
    lines.append(_monthly_sentence(middle, currency))
    saved = [middle.saved_after(after) for after in SAVING_MONTHS]
    lines.append(
        "In the middle case you are "
        + ", ".join(
            f"{money(abs(amount), currency)} {'ahead' if amount >= 0 else 'behind'}"
            f" after {after} months"
            for after, amount in zip(SAVING_MONTHS, saved, strict=True)
        )
        + "."
    )
    return lines


def never(case: Outlook) -> str:
    """Why a case never breaks even."""
    if case.monthly_saving <= 0:
        return (
            "serving the tuned model costs as much a month as the API does, or more, so what was"
            " paid up front never comes back"
        )
    return f"a month saves so little that it takes more than {MAX_MONTHS // 12} years"


def headline(found: BreakEven) -> str:
    """The break-even of the three cases, in one line."""
    best, middle, worst = (found.cases[case] for case in ("best", "middle", "worst"))
    if best.break_even_months is None:
        return "It never pays for itself, even in the best case"
    at_best = months(best.break_even_months)
    if best == worst:
        return f"It pays for itself after {at_best} months"
    ends = [
        f"{'never' if case.break_even_months is None else months(case.break_even_months)} {where}"
        for case, where in ((middle, "in the middle case"), (worst, "at worst"))
    ]
    return f"It pays for itself after {at_best} months at best, {ends[0]}, {ends[1]}"


def _break_even_sentence(found: BreakEven) -> str:
    stuck = next(
        (case for case in found.cases.values() if case.break_even_months is None), None
    )  # the best case comes first
    return f"{headline(found)}." if stuck is None else f"{headline(found)}: {never(stuck)}."


def _monthly_sentence(middle: Outlook, currency: str) -> str:
    api, here = money(middle.api_monthly, currency), money(middle.here_monthly, currency)
    saving = middle.monthly_saving
    verb = "saves" if saving >= 0 else "costs you a further"
    return (
        f"A month costs {api} on the API and {here} here, which {verb}"
        f" {money(abs(saving), currency)} a month, for {money(middle.upfront, currency)} once."
    )


_LABELS = {
    "queries_per_month": "queries a month",
    "price_per_query": "price of a query",
    "tokens_in_per_query": "tokens of a prompt",
    "tokens_out_per_query": "tokens of an answer",
    "input_price_per_million": "price of prompt tokens",
    "output_price_per_million": "price of answer tokens",
    "upfront_cost": "cost up front",
    "data_preparation_cost": "data preparation",
    "training_cost": "training",
    "monthly_cost": "serving a month",
}


def label(name: str) -> str:
    """An input's name for a person."""
    return _LABELS[name]

"""Checks of how answers are written: planted defects are found, and clean rows left alone."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Sequence

import pytest

from tunesmith.platform.data_report.finding import Severity
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.data_report.text_checks import check_texts
from tunesmith.platform.data_report.text_stale_dates import check_stale_dates
from tunesmith.platform.examples import Example

SENTENCES = (
    "We have reset your password and sent a new link to your inbox.",
    "Please restart the router, wait for two minutes and try again.",
    "Your refund was approved on Monday and will reach your account within five days.",
    "The invoice shows a delivery charge because the parcel was heavier than stated.",
    "Open the settings, choose privacy and switch off personalised advertising.",
    "You can change the delivery address until the parcel leaves our warehouse.",
    "Our technician, Mr Kowalczyk, will visit you tomorrow between nine and noon.",
    "The warranty covers manufacturing faults for the first two years after purchase.",
    "To cancel the subscription, go to your profile and choose the plan page.",
    "I have forwarded your complaint to the team that is responsible for it.",
    "I'm sorry to hear that the parcel was damaged; we will send another one today.",
    "I'm sorry, but we can't refund an order after thirty days.",
    "Unfortunately the item is out of stock, so I cannot say when it will ship.",
    "The VPN client needs macOS 14 or later; download it at https://example.com/vpn.",
    "Is the green light on? If so, hold the button for ten seconds!",
    "Thanks for the photo 😊 That is the older model, the TX-400.",
    'Choose "Export", then "CSV (UTF-8)".',
    "Run `kubectl get pods` and send me what it prints.",
)
ENDINGS = (
    "",
    "",
    "",
    "\n\nKind regards,\nThe support team",
    "\n\n- Check the cable\n- Restart the router\n- Call us",
    "\n\n```python\nprint('done')\n```",
    "\nMore: https://example.com/help/42",
    " 🙂",
)
GERMAN = (
    "Ihre Bestellung wurde heute versandt und kommt voraussichtlich am Freitag an.",
    "Bitte starten Sie das Gerät neu und melden Sie sich danach noch einmal bei uns.",
    "Wir haben Ihnen das Geld gestern auf Ihr Konto überwiesen.",
)
FRENCH = (
    "Votre commande est partie ce matin et arrivera chez vous avant vendredi.",
    "Merci de redémarrer l'appareil et de nous rappeler ensuite.",
)
RUSSIAN = ("Ваш заказ отправлен сегодня утром.", "Пожалуйста, перезагрузите устройство.")


def answer(rng: random.Random) -> str:
    text = " ".join(rng.sample(SENTENCES, rng.randrange(1, 4)))
    name = rng.choice(["Anna", "Mr Okonkwo", "Zoë", "Dr. Nguyễn"])
    return f"Dear {name}, {text} Reference {rng.randrange(10**6)}.{rng.choice(ENDINGS)}"


def cut(text: str, rng: random.Random) -> str:
    words = text.split("\n", maxsplit=1)[0].split()
    place = rng.randrange(len(words) // 2, len(words) - 1)
    while words[place][-1] in '.?!;)"😊`':
        place -= 1
    word = words[place]
    return " ".join([*words[:place], word[: max(2, len(word) - rng.randrange(2))].rstrip(",")])


def misspelt(text: str, rng: random.Random) -> str:
    words = text.split("\n", maxsplit=1)[0].split()
    for place, word in enumerate(words):
        if len(word) > 4 and word.isascii() and word.isalpha() and word.islower():
            at = rng.randrange(1, len(word) - 2)
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I\u2019m sorry, but I cannot assist with that request.",
    "As an AI language model, I do not have access to your account.",
    "I apologize, but I am unable to provide that information.",
    "Sorry, I can't do that.",
    "I cannot fulfill this request.",
    "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen.",
    "Als KI-Sprachmodell habe ich keinen Zugriff auf Ihr Konto.",
    "Je suis désolé, mais je ne peux pas vous aider avec cette demande.",
    "Lo siento, pero no puedo ayudar con esa solicitud.",
)
STALE = (
    "As of 2021, the fee is five euros a month.",
    "The price is 20 euros as of March 2020.",
    "Currently (2019) we ship to twelve countries.",
    "It is now 2018, and the office is closed.",
    "Stand: Januar 2021 beträgt die Gebühr fünf Euro.",
    "Last updated on 2020-05-01: the limit is ten files.",
    "The offer is valid until 31 December 2020.",
)

PLANTS: dict[str, Callable[[random.Random], str]] = {
    "empty_answers": lambda r: r.choice(["", "  ", "n/a", "-", ".", "N/A", "...", "\u200b", "TBD"]),
    "cut_off": lambda r: r.choice(
        [cut(answer(r), r), cut(answer(r), r), "See:\n```python\nprint(1)", '{"a": [1, 2, {"b": "']
    ),
    "other_language": lambda r: " ".join(r.sample(r.choice([GERMAN, FRENCH]), 2)),
    "other_script": lambda r: r.choice(RUSSIAN),
    "refusals": lambda r: r.choice(REFUSALS[:6]),
    "typos": lambda r: misspelt(" ".join(r.sample(SENTENCES[:10], 2)), r),
    "stale_dates": lambda r: f"{r.choice(STALE)} {answer(r)}",
}


def table_of(answers: Sequence[str], prompts: Sequence[str] | None = None) -> Table:
    asked = prompts or [f"What about order {row}?" for row in range(len(answers))]
    return Table.of(
        Example(
            row + 1,
            [{"role": "user", "content": asked[row]}, {"role": "assistant", "content": text}],
        )
        for row, text in enumerate(answers)
    )


def found(table: Table) -> dict[str, set[int]]:
    return {finding.check: set(finding.rows) for finding in check_texts(table)}


@pytest.mark.parametrize("check", PLANTS)
def test_planted_defects_are_found(check: str) -> None:
    rng = random.Random(f"planted {check}")
    answers = [answer(rng) for _ in range(800)]
    planted = set(rng.sample(range(1, 801), 60))
    for row in planted:
        answers[row - 1] = PLANTS[check](rng)
    rows = found(table_of(answers)).get(check, set())
    missed = [answers[row - 1] for row in sorted(planted - rows)]
    assert len(rows & planted) >= 0.95 * len(planted), missed[:10]
    assert len(rows - planted) <= 0.02 * 740


def test_clean_answers_raise_no_alarm() -> None:
    rng = random.Random("clean")
    answers = [answer(rng) for _ in range(2000)]
    alarms = found(table_of(answers))
    assert sum(map(len, alarms.values())) <= 0.005 * len(answers), {
        check: [answers[row - 1] for row in list(rows)[:5]] for check, rows in alarms.items()
    }
    assert check_texts(table_of(answers)) == check_texts(table_of(answers))


@pytest.mark.parametrize(
    "labels",
    [
        ["billing", "technical", "shipping", "none"],
        ["Rechnung", "Technik", "Versand"],
        ["yes", "no"],
        ["+", "-"],
        ["1", "2", "3", "n/a"],
        ["Account and billing questions", "The", "Retour en cours", "да"],
        ["👍", "👎"],
        ['{"label": "a"}', '{"label": "b"}'],
    ],
)
def test_labels_raise_no_alarm(labels: list[str]) -> None:
    rng = random.Random("labels")
    assert check_texts(table_of([rng.choice(labels) for _ in range(400)])) == []


def test_an_empty_label_among_labels_is_found() -> None:
    answers = ["billing", "technical"] * 100
    answers[7], answers[20] = "n/a", "."
    assert found(table_of(answers)) == {"empty_answers": {8, 21}}


def test_titles_without_full_stops_are_a_style() -> None:
    rng = random.Random("titles")
    words = [
        "How",
        "to",
        "reset",
        "a",
        "password",
        "when",
        "the",
        "router",
        "of",
        "your",
        "office",
        "is",
        "down",
        "again",
    ]
    answers = [" ".join(rng.sample(words, 6)) + f" {row}x" for row in range(300)]
    assert "cut_off" not in found(table_of(answers))


def test_code_is_neither_cut_off_nor_misspelt() -> None:
    rng = random.Random("code")
    answers = [
        f"SELECT usr_nm, cnt_{row} FROM tbl WHERE idx = {row} AND qty > {rng.randrange(9)}"
        for row in range(200)
    ]
    assert check_texts(table_of(answers)) == []


def test_a_foreign_row_whose_question_is_foreign_too_is_a_note() -> None:
    rng = random.Random("rows")
    answers = [answer(rng) for _ in range(200)]
    prompts = [f"Where is order {row}, please tell me?" for row in range(200)]
    answers[10], prompts[10] = GERMAN[0], "Wo bleibt eigentlich meine Bestellung von letzter Woche?"
    answers[20] = GERMAN[1]
    findings = {finding.check: finding for finding in check_texts(table_of(answers, prompts))}
    assert findings["second_language"].rows == (11,)
    assert findings["second_language"].severity is Severity.NOTE
    assert findings["other_language"].rows == (21,)
    assert findings["other_language"].details == {"languages": {"de": 1}}


def test_a_file_of_two_languages_has_no_foreign_one() -> None:
    rng = random.Random("both")
    answers = [rng.choice(GERMAN) + f" {row}" if row % 2 else answer(rng) for row in range(200)]
    assert found(table_of(answers)).keys().isdisjoint({"other_language", "second_language"})


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_in_several_languages(text: str) -> None:
    assert 1 in found(table_of([text])).get("refusals", set())


@pytest.mark.parametrize(
    ("text", "stale"),
    [
        ("As of 2021, it costs five euros.", True),
        ("As of 2024, it costs five euros.", False),
        ("As of May 2022 it costs five.", True),
        ("As of 2023-07-02 it costs five.", False),
        ("As of 2023-05-02 it costs five.", True),
        ("The company was founded in 1998 and grew in 2010.", False),
        ("The current limit is 2000 files.", False),
        ("2019 is the current year.", True),
    ],
)
def test_dates_are_stale_after_two_years(text: str, stale: bool) -> None:
    today = datetime.date(2025, 6, 30)
    assert bool(check_stale_dates(table_of([text]), today)) is stale
    asked = [f"How was it in {text[:4]}, 2021, 2022, 2023 or 2019?"]
    assert not check_stale_dates(table_of([text], asked), today)


def test_whole_file_of_typos_is_a_note() -> None:
    rng = random.Random("typos")
    answers = [misspelt(answer(rng), rng) for _ in range(200)]
    assert "typos_overall" in found(table_of(answers))

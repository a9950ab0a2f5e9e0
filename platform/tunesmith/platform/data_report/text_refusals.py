"""Answers in which another model declines, or speaks of itself, instead of answering."""

from __future__ import annotations

import re

from .finding import Finding, Severity
from .normal_text import shortened
from .table import Table

_LOOKED_AT = 400
"""Characters from the start: a refusal declares itself early."""

_SELF = (
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|virtual assistant)\b",
    r"\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|artificial intelligence|(?:large )?language"
    r" model)\b",
    r"\bas (?:chatgpt|gpt-?\d|an openai model)\b|\b(?:trained|developed|created) by openai\b",
    r"\bmy (?:knowledge|training)(?: data)?(?: cut-?off| (?:only )?(?:goes|extends) (?:up )?to)\b",
    r"\bals (?:ki|künstliche intelligenz|sprachmodell|ki-(?:sprach)?modell|ki-assistent)\b",
    r"\bals ein(?:e|en)? (?:ki|sprachmodell|künstliche intelligenz)\b",
    r"\ben tant qu(?:e modèle|'(?:ia|intelligence artificielle|assistant virtuel))\b",
    r"\bcomo (?:modelo de (?:lenguaje|ia|linguagem)|(?:una )?(?:ia\b|inteligencia artificial)"
    r"|um(?:a)? (?:ia\b|modelo de linguagem|inteligência artificial))",
    r"\bin qualità di (?:modello|intelligenza)|\bcome (?:modello (?:di linguaggio|linguistico)"
    r"|intelligenza artificiale)\b",
    r"\bals (?:een )?(?:ai-?(?:taal)?model|taalmodel|kunstmatige intelligentie)\b",
)
"""How a model speaks of itself, in English, German, French, Spanish, Portuguese, Italian, Dutch."""

_HELP = (
    r"(?:assist|help|comply|fulfil+|provide|answer|do that|do this|complete (?:this|that|your)"
    r"|generate|create|engage|discuss|continue|respond|support (?:this|that)|share that"
    r"|offer|give (?:medical|legal|financial|personal|advice)|process (?:this|that)|write)"
)
_SORRY = r"(?:sorry|apologi[sz]e|apologies|unfortunately|afraid)"
_CANNOT = (
    r"(?:can ?not|can't|won't|will not|(?:'m| am) (?:not able|unable) to|(?:'m| am) not allowed to)"
)

_DECLINES = (
    rf"\b{_SORRY}\b.{{0,40}}?\bi ?{_CANNOT} (?:\w+ ){{0,2}}?{_HELP}\b",
    rf"^\W*i ?{_CANNOT} (?:\w+ ){{0,2}}?{_HELP}\b.{{0,30}}\b(?:that|this|request|with|you)\b",
    r"^\W*i(?:'m| am) (?:really |very )?sorry,? but i (?:can ?not|can't|won't)\s*[.!]?$",
    r"^\W*(?:i(?:'m| am) )?sorry,? (?:but )?i (?:can't|can ?not) (?:do|help|assist)\b",
    r"\b(?:tut mir leid|entschuldigung|bedaure|leider)\b.{0,40}\bich\b.{0,60}\bnicht (?:helfen"
    r"|beantworten|weiterhelfen|unterstützen|bearbeiten|erfüllen|dienen|behilflich)\b",
    r"\b(?:tut mir leid|entschuldigung|leider)\b.{0,20}\bkann ich (?:dir|ihnen|dabei|das|damit)?"
    r".{0,30}\bnicht (?:helfen|beantworten|weiterhelfen|behilflich)\b",
    r"\bdésolée?\b.{0,40}\bje ne (?:peux|suis|puis)(?: pas)?\b.{0,30}"
    r"\b(?:aider|répondre|fournir|capable|en mesure|satisfaire|assister)\b",
    r"\blo siento\b.{0,40}\bno (?:puedo|soy capaz|me es posible)\b.{0,30}"
    r"\b(?:ayudar|responder|proporcionar|cumplir|asistir)",
    r"\b(?:desculpe|lamento|sinto muito)\b.{0,40}\bnão (?:posso|consigo)\b.{0,30}"
    r"\b(?:ajudar|responder|fornecer|atender)",
    r"\bmi dispiace\b.{0,40}\bnon (?:posso|sono in grado)\b.{0,30}"
    r"\b(?:aiutar|rispondere|fornire|assister|soddisfare)",
    r"\b(?:sorry|het spijt me|helaas)\b.{0,30}\bik\b.{0,30}\bniet (?:helpen|beantwoorden|voldoen)",
)
"""How a model declines: an apology in the first person singular, and what it will not do.

"We can't refund this" is an answer; "I'm sorry, but I can't help with that" is not one.
"""

_REFUSAL = re.compile("|".join(f"(?:{pattern})" for pattern in (*_SELF, *_DECLINES)), re.DOTALL)
# One of these is in every text that the pattern finds; looking for them is twenty times as fast.
_HINTS = (
    *(
        "sorry",
        "apolog",
        "unfortunately",
        "afraid",
        "i can",
        "i won",
        "i will not",
        "i'm ",
        "i am ",
    ),
    *("as a", "as chatgpt", "as gpt", "openai", "cutoff", "cut-off", "my knowledge", "my training"),
    *("als ", "leid", "entschuldigung", "bedaure", "leider", "en tant", "désol", "como ", "come "),
    *("lo siento", "desculpe", "lamento", "sinto", "qualità", "dispiace", "spijt", "helaas"),
)


def is_refusal(answer: str) -> bool:
    """Whether an answer is a model's refusal or speaks as a model of itself."""
    start = answer[:_LOOKED_AT].casefold().replace("\u2019", "'")
    return any(hint in start for hint in _HINTS) and _REFUSAL.search(start) is not None


def check_refusals(table: Table) -> list[Finding]:
    """One finding about the answers in which another model declines."""
    rows = [row for row, answer in enumerate(table.answers) if is_refusal(answer)]
    if not rows:
        return []
    return [
        Finding.of_rows(
            "refusals",
            Severity.WARNS,
            [table.lines[row] for row in rows],
            len(table),
            message=f"{len(rows):,} answers are boilerplate of another model that declines or"
            " speaks of itself.",
            advice="Write the answer that you want, or remove the rows; keep them only where the"
            " model is to decline just so.",
            example=f"{shortened(table.prompts[rows[0]])} → {shortened(table.answers[rows[0]])}",
        )
    ]

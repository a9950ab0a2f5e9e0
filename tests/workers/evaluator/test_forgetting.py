"""What a tuned model lost of the general probes, and how far it drifted."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.storage import Storage
from tunesmith.workers.evaluator.engine_client import EngineClient, EngineUnreachable
from tunesmith.workers.evaluator.forgetting import Forgetting, ProbeCache, look_for_forgetting
from tunesmith.workers.evaluator.probes import KINDS, load_probes

from .fake_engine import BASE, END, TUNED, FakeEngine, Say, asking

PROBES = load_probes()
KEY = "evaluations/probes/digest-general-1.json"
REFUSAL = "No, I will not help with that."


def right_answer(check: dict[str, Any]) -> str:
    ((how, wanted),) = check.items()
    match how:
        case "contains" | "contains_as_written":
            return str(wanted[0])
        case "json":
            return json.dumps(wanted)
        case "refuses":
            return REFUSAL
        case "pattern":
            texts = ("red, green, blue", "cat, dog", "a, b, c", "B")
            return next(text for text in texts if re.fullmatch(wanted, text))
        case _:
            return str(wanted)


RIGHT = {probe.prompt: right_answer(probe.check) for probe in PROBES}
REFUSALS = [probe.prompt for probe in PROBES if probe.kind == "refusals"]


def saying(tuned: dict[str, str]) -> Say:
    """A base that is right everywhere, and a tuned model that says other things to some."""

    def say(model: str, messages: list[dict[str, Any]]) -> str:
        prompt = messages[-1]["content"]
        return tuned.get(prompt, RIGHT[prompt]) if model == TUNED else RIGHT[prompt]

    return say


def compared(engine: FakeEngine, limit: float = 0.2, cache: ProbeCache | None = None) -> Forgetting:
    async def work(client: EngineClient) -> Forgetting:
        return await look_for_forgetting(client, BASE, TUNED, limit=limit, cache=cache)

    return asyncio.run(asking(engine, work))


def shifted(by: float) -> FakeEngine:
    """The tuned model finds every token less likely by so many nats."""
    return FakeEngine(saying({}), lambda model, *_: -0.5 - (by if model == TUNED else 0.0))


def test_a_model_that_lost_nothing() -> None:
    found = compared(FakeEngine(saying({}))).as_json()
    assert (found["baseline"], found["candidate"], found["drop"]) == (1.0, 1.0, 0.0)
    assert found["within_limit"]
    assert (found["lost"], found["lost_count"], found["gained_count"]) == ([], 0, 0)
    assert found["logprob_shift"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "no clear change, within the limit" in found["summary"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_model_that_no_longer_refuses() -> None:
    found = compared(FakeEngine(saying(dict.fromkeys(REFUSALS, "Sure, here is how.")))).as_json()
    assert found["probes"] == 120
    assert found["drop"] == pytest.approx(0.25)
    assert found["difference"]["value"] == pytest.approx(-0.25)
    assert found["difference"]["high"] < 0
    assert found["difference"]["p_value"] < 1e-6
    assert not found["within_limit"]
    for kind in KINDS:
        share = 0.0 if kind == "refusals" else 1.0
        assert found["by_kind"][kind] == {"n": 30, "baseline": 1.0, "candidate": share}
    assert found["lost_count"] == 30
    assert found["lost"][0] == {
        "id": "refusals-01",
        "prompt": REFUSALS[0],
        "baseline_answer": REFUSAL,
        "candidate_answer": "Sure, here is how.",
    }
    assert "a loss of 25 points, beyond the limit of 20 points" in found["summary"]


def test_the_limit_itself_is_within_the_limit() -> None:
    lost = dict.fromkeys(REFUSALS[:24], "Sure.")
    assert compared(FakeEngine(saying(lost)), limit=0.2).as_json()["within_limit"]
    more = dict.fromkeys(REFUSALS[:25], "Sure.")
    assert not compared(FakeEngine(saying(more)), limit=0.2).as_json()["within_limit"]


def test_a_few_lost_are_no_clear_change() -> None:
    found = compared(FakeEngine(saying(dict.fromkeys(REFUSALS[:3], "Sure."))))
    assert "no clear change" in found.as_json()["summary"]


def test_what_was_gained_is_counted_too() -> None:
    def say(model: str, messages: list[dict[str, Any]]) -> str:
        return RIGHT[messages[-1]["content"]] if model == TUNED else "?"

    found = compared(FakeEngine(say)).as_json()
    assert (found["gained_count"], found["lost_count"], found["drop"]) == (120, 0, -1.0)
    assert "a gain of 100 points" in found["summary"]
    assert "so few right that a loss beyond the limit could not show" in found["summary"]


def test_the_drift_is_of_the_baselines_own_answers_in_nats_a_token() -> None:
    found = compared(shifted(0.25))
    shift = found.as_json()["logprob_shift"]
    assert shift == pytest.approx({"value": -0.25, "low": -0.25, "high": -0.25})
    assert found.shifts == pytest.approx([-0.25] * 120)
    assert "0.25 nats a token less likely" in found.as_json()["summary"]


def test_the_very_tokens_that_the_baseline_said_are_scored_under_both() -> None:
    engine = FakeEngine(saying(dict.fromkeys(REFUSALS, "Sure.")))
    compared(engine)
    scored: dict[str, list[list[int]]] = {BASE: [], TUNED: []}
    for _, path, body in engine.requests:
        if path == "/v1/completions":
            scored[body["model"]].append(body["prompt"])
    assert sorted(scored[BASE]) == sorted(scored[TUNED])
    assert len(scored[BASE]) == 120
    assert all(ids[-1] == END for ids in scored[BASE])
    texts = {"".join(map(chr, ids)) for ids in scored[BASE]}
    assert sum(text.endswith(f"a: {REFUSAL}{chr(END)}") for text in texts) == 30


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def asked(engine: FakeEngine) -> dict[str, int]:
    models = [body["model"] for _, _, body in engine.requests]
    return {model: models.count(model) for model in (BASE, TUNED)}


def test_a_base_is_asked_once_for_all_jobs(storage: Storage) -> None:
    engine = shifted(0.25)
    first = compared(engine, cache=ProbeCache(storage, "digest")).as_json()
    assert asked(engine) == {BASE: 240, TUNED: 240}
    engine.requests.clear()
    second = compared(engine, cache=ProbeCache(storage, "digest")).as_json()
    assert asked(engine) == {BASE: 0, TUNED: 240}
    assert second == first


def test_another_base_is_asked_for_itself(storage: Storage) -> None:
    compared(shifted(0.25), cache=ProbeCache(storage, "digest"))
    engine = shifted(0.25)
    compared(engine, cache=ProbeCache(storage, "another"))
    assert asked(engine)[BASE] == 240


def damaged(kept: list[dict[str, Any]], **changes: Any) -> bytes:
    return json.dumps([kept[0] | changes, *kept[1:]]).encode()


def test_what_does_not_read_back_is_asked_again_and_mended(storage: Storage) -> None:
    cache = ProbeCache(storage, "digest")
    good = compared(shifted(0.25), cache=cache).as_json()
    kept = json.loads(storage.get(KEY))
    cases = [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"7",
        b"{}",
        json.dumps(kept[:-1]).encode(),
        json.dumps([*kept, kept[0]]).encode(),
        json.dumps([None, *kept[1:]]).encode(),
        json.dumps([{}, *kept[1:]]).encode(),
        damaged(kept, prompt="another"),
        damaged(kept, answer=None),
        damaged(kept, prompt_ids=[]),
        damaged(kept, prompt_ids=["1"]),
        damaged(kept, ids=None),
        damaged(kept, ids=[True]),
        damaged(kept, per_token="-0.5"),
        damaged(kept, per_token=float("nan")),
        damaged(kept, per_token=0.5),
    ]
    for case in cases:
        storage.put(KEY, case)
        assert cache.read(PROBES) is None, case
        engine = shifted(0.25)
        assert compared(engine, cache=cache).as_json() == good
        assert asked(engine)[BASE] == 240
        assert json.loads(storage.get(KEY)) == kept


def test_kept_answers_are_checked_as_probes_are_checked_now(storage: Storage) -> None:
    cache = ProbeCache(storage, "digest")
    compared(shifted(0.0), cache=cache)
    kept = json.loads(storage.get(KEY))
    storage.put(KEY, damaged(kept, answer="something wrong"))
    read = cache.read(PROBES)
    assert read is not None
    assert [one.passed for one in read] == [False] + [True] * 119


def test_nothing_is_kept_of_a_base_that_was_not_asked_to_the_end(storage: Storage) -> None:
    engine = FakeEngine(saying({}))
    engine.failing["engine"] = 1
    with pytest.raises(EngineUnreachable):
        compared(engine, cache=ProbeCache(storage, "digest"))
    assert not storage.exists(KEY)

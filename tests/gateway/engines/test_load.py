"""What an engine's page of metrics says, whatever is on it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.gateway.engines.engine import Load
from tunesmith.gateway.engines.load import parse_load

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="pocket"} 3.0
vllm:num_requests_running{engine="1",model_name="pocket"} 2.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="pocket"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="pocket",reason="capacity"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="a} b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="pocket"} 0.5
"""


def test_ranks_are_added_up_and_the_fullest_cache_counts() -> None:
    assert parse_load(PAGE) == Load(running=5, waiting=7, kv_usage=0.5)


def test_a_page_of_another_server_says_nothing() -> None:
    assert parse_load("# HELP x y\nx 1\n") is None
    assert parse_load("") is None


@given(st.text() | st.text("vllm:num_requests_running{}= \n.0nai", max_size=80))
def test_any_text_is_a_load_or_none(text: str) -> None:
    parse_load(text + "\n" + PAGE[:0])
    found = parse_load("vllm:num_requests_running 1\n" + text)
    assert found is not None

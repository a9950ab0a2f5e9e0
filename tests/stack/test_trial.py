"""The chart's smallest values: a database in the release, a volume, workers that come from zero."""

from __future__ import annotations

import pytest
import yaml

from .helm import CHART
from .stack import running_stack


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_trial_on_one_node_tunes_and_serves() -> None:
    with running_stack() as stack:
        stack.values = yaml.safe_load((CHART / "values" / "minimal.yaml").read_text())
        stack.apply()
        stack.wait_ready(900)
        assert stack.pods("ray-worker") == []
        stack.release.test(900)
        assert stack.pods("postgresql")[0].name == "tunesmith-postgresql-0"

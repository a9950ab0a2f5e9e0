"""`helm upgrade` to a release with one more migration, while jobs run and streams flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from tests.end_to_end.data import ask
from tests.end_to_end.platform import until, wait_for_step

from tunesmith.platform.database import migrations

from .jobs import QUESTION, Jobs, finished_the_same
from .release import HookFailed
from .stack import POCKET, Stack
from .traffic import Traffic

VERSIONS = Path(migrations.__path__[0]) / "versions"
NEXT = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None
oldest_revision = "{head}"


def upgrade() -> None:
    {does}


def downgrade() -> None:
    op.drop_column("jobs", "of_the_next_release")
"""
ADDS = 'op.add_column("jobs", sa.Column("of_the_next_release", sa.Text()))'
FAILS = 'op.add_column("no_such_table", sa.Column("x", sa.Text()))'


def head() -> str:
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def tags(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tags of images that have one more migration: `next`, and `broken`, where it fails."""
    for tag, does in (("next", ADDS), ("broken", FAILS)):
        layer = tmp_path_factory.mktemp(tag)
        (layer / "9999_next.py").write_text(NEXT.format(head=head(), does=does))
        stack.cluster.images.add_layer(tag, layer, VERSIONS)


@pytest.fixture(scope="module")
def jobs(stack: Stack) -> Jobs:
    return Jobs(stack, "Upgraded")


def images(tag: str) -> dict[str, Any]:
    return {"images": {"gateway": {"tag": tag}, "workers": {"tag": tag}}}


@pytest.mark.chaos
@pytest.mark.usefixtures("tags")
def test_a_migration_that_fails_leaves_the_old_release_serving(stack: Stack, jobs: Jobs) -> None:
    before = {pod.name for pod in stack.cluster.pods if pod.ready}
    values = stack.values
    failing = images("broken") | {"migration": {"backoffLimit": 0}}
    with pytest.raises(HookFailed, match="no_such_table"):
        stack.apply(failing)
    stack.values = values
    assert before <= {pod.name for pod in stack.cluster.pods if pod.ready}
    assert ask(jobs.client, POCKET, QUESTION)


@pytest.mark.chaos
@pytest.mark.usefixtures("tags")
def test_an_upgrade_serves_and_trains_throughout(stack: Stack, jobs: Jobs) -> None:
    undisturbed = jobs.digest(jobs.create())
    running = [jobs.create(), jobs.create()]
    wait_for_step(jobs.client, running[0], 20)
    before = {pod.name for pod in stack.pods("gateway")}
    with Traffic(stack.url, jobs.client.api_key, POCKET) as load:
        until(lambda: load.finished > 3, 300)
        stack.apply(images("next"))
        stack.wait_ready()
        so_far = load.finished
        until(lambda: load.finished > so_far + 3, 300)
    assert load.cut == []
    assert load.refused == {}
    assert not before & {pod.name for pod in stack.pods("gateway")}
    for job in running:
        finished_the_same(jobs, job, undisturbed)
    engine = sqlalchemy.create_engine(stack.driver_url)
    with engine.connect() as connection:
        revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
        assert revision.scalar_one() == "9999"
    engine.dispose()

"""PostgreSQL and S3 by setting alone: a restart in the middle of a job, backup and restore."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import psutil
import psycopg
import pytest
from moto.server import ThreadedMotoServer
from openai import OpenAI
from openai.types.fine_tuning.job_create_params import Hyperparameters
from sqlalchemy.engine import make_url

from .data import ask, csv_pairs, upload
from .platform import Platform, messages, running, succeeded, wait_for_step

BASE = "tunesmith-pocket"
QUESTION = "where does ticket 3 about the west box go?"


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """An S3 server with a bucket, as the variables that name it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    ).create_bucket(Bucket="tunesmith")
    yield variables
    server.stop()


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_platform_on_postgresql_and_s3_goes_on_after_ctrl_c(
    postgres_database: str, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = s3 | {
        "TUNESMITH_DATABASE_URL": postgres_database,
        "TUNESMITH_STORAGE_URL": "s3://tunesmith/data",
    }
    with running(tmp_path_factory.mktemp("stores") / "home", environment) as platform:
        client = platform.tenant("Acme")
        file = upload(client, csv_pairs(40, "desk {word}"))
        short: Hyperparameters = {"n_epochs": 8, "batch_size": 2}

        def create() -> str:
            return client.fine_tuning.jobs.create(
                model=BASE, training_file=file, seed=4, hyperparameters=short
            ).id

        undisturbed = succeeded(client, create()).fine_tuned_model
        assert undisturbed is not None
        answer = ask(client, undisturbed, QUESTION)

        interrupted = create()
        wait_for_step(client, interrupted, 20)
        assert platform.stop() == 0
        assert_nothing_runs(platform)

        platform.start()
        assert ask(client, undisturbed, QUESTION) == answer
        resumed = succeeded(client, interrupted).fine_tuned_model
        assert resumed is not None
        assert any("started from step" in message for message in messages(client, interrupted))
        digests = [platform.digest(m, postgres_database) for m in (undisturbed, resumed)]
        assert digests[0] == digests[1]
        assert not (platform.home / "storage").exists()
        assert not list(platform.home.glob("*.db"))

        assert_a_backup_serves_again(platform, client, undisturbed, answer, environment)


def assert_a_backup_serves_again(
    platform: Platform, client: OpenAI, model: str, answer: str, environment: dict[str, str]
) -> None:
    """Backed up while it runs, restored into empty stores, the model gives the same answer."""
    place = platform.home.with_name("backups")
    platform.command_line(environment, "backup", str(place))
    assert platform.stop() == 0
    before = make_url(environment["TUNESMITH_DATABASE_URL"])
    empty = before.set(database=f"{before.database}_restored")
    server = before.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {empty.database}".encode())
    elsewhere = environment | {
        "TUNESMITH_DATABASE_URL": empty.render_as_string(hide_password=False),
        "TUNESMITH_STORAGE_URL": "s3://tunesmith/restored",
    }
    try:
        platform.command_line(elsewhere, "restore", str(place))
        with running(platform.home.with_name("other-home"), elsewhere) as restored:
            assert ask(restored.client(client.api_key), model, QUESTION) == answer
            assert restored.stop() == 0
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {empty.database} WITH (FORCE)".encode())


def assert_nothing_runs(platform: Platform) -> None:
    left = platform.all_processes()
    _, alive = psutil.wait_procs(left, timeout=5)
    assert not alive, [process.cmdline() for process in alive]

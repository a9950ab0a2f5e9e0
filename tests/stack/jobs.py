"""The same job again and again, and what became of it."""

from __future__ import annotations

from openai import OpenAI
from tests.end_to_end.data import csv_pairs, upload
from tests.end_to_end.platform import messages, succeeded

from .stack import POCKET, Stack

# On a machine with little time for each of twenty processes.
_JOB_SECONDS = 600.0
QUESTION = "where does ticket 3 about the west box go?"


class Jobs:
    """A tenant's jobs, all alike: undisturbed, each ends with the same adapter."""

    def __init__(self, stack: Stack, tenant: str) -> None:
        self.stack, self.client = stack, stack.tenant(tenant)
        self.file = upload(self.client, csv_pairs(40))

    def create(self) -> str:
        return create(self.client, self.file)

    def digest(self, job: str) -> str:
        """The adapter's digest, once the job has succeeded."""
        model = succeeded(self.client, job, _JOB_SECONDS).fine_tuned_model
        assert model is not None
        return self.stack.digest(model)

    def model(self, job: str) -> str:
        model = self.client.fine_tuning.jobs.retrieve(job).fine_tuned_model
        assert model is not None
        return model


def create(client: OpenAI, file: str) -> str:
    return client.fine_tuning.jobs.create(
        model=POCKET,
        training_file=file,
        seed=21,
        hyperparameters={"n_epochs": 12, "batch_size": 2},
    ).id


def finished_the_same(jobs: Jobs, job: str, undisturbed: str) -> None:
    """The job has come to its end once, with the adapter of an undisturbed run."""
    assert jobs.digest(job) == undisturbed
    told = messages(jobs.client, job)
    assert sum("successfully completed" in message for message in told) == 1, told

"""The life of keys, in any order of acts: which open is what the acts say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.platform.conftest import World

from tunesmith.platform.domain.errors import InvalidRequest, NotAuthenticated
from tunesmith.platform.tenants import (
    KeyTerms,
    authenticate,
    create_key,
    get_key,
    revoke_key,
    rotate_key,
)

START = 1_000_000.0


@dataclass
class Expected:
    """A key as the acts left it."""

    id: str
    text: str
    made_at: float
    expires_at: float | None
    revoked: bool = False
    rotated: bool = False

    def lives(self, now: float) -> bool:
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


class KeyLives(RuleBasedStateMachine):
    """Keys are made, rotated and revoked while time goes on."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.tenant = self.world.tenant()
        self.keys: list[Expected] = []

    def do(self, act: Any) -> Any:
        with (
            patch("time.time", lambda: self.now),
            self.world.database.transaction() as session,
        ):
            return act(session)

    @rule(life=st.none() | st.integers(1, 100))
    def create(self, life: int | None) -> None:
        end = None if life is None else self.now + life
        row, text = self.do(lambda s: create_key(s, self.tenant, "key", KeyTerms(expires_at=end)))
        self.keys.append(Expected(row.id, text, self.now, end))

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), overlap=st.integers(0, 100))
    def rotate(self, data: st.DataObject, overlap: int) -> None:
        old = data.draw(st.sampled_from(self.keys))
        if old.rotated or not old.lives(self.now):
            with pytest.raises(InvalidRequest):
                self.do(lambda s: rotate_key(s, self.tenant, old.id, overlap))
            return
        row, text = self.do(lambda s: rotate_key(s, self.tenant, old.id, overlap))
        life = None if old.expires_at is None else old.expires_at - old.made_at
        end = self.now + overlap
        old.expires_at = end if old.expires_at is None else min(old.expires_at, end)
        old.rotated = True
        new = Expected(row.id, text, self.now, None if life is None else self.now + life)
        self.keys.append(new)

    @precondition(lambda self: self.keys)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.keys))
        self.do(lambda s: revoke_key(s, self.tenant, key.id))
        key.revoked = True

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def those_that_live_open(self) -> None:
        with (
            patch("time.time", lambda: self.now),
            self.world.database.reading() as session,
        ):
            for key in self.keys:
                if key.lives(self.now):
                    caller = authenticate(session, key.text)
                    assert (caller.key_id, caller.tenant_id) == (key.id, self.tenant)
                else:
                    with pytest.raises(NotAuthenticated):
                        authenticate(session, key.text)
                kept = get_key(session, self.tenant, key.id).expires_at
                assert kept == (None if key.expires_at is None else pytest.approx(key.expires_at))


@pytest.fixture
def machine(sqlite_world: World) -> Iterator[type[KeyLives]]:
    KeyLives.world = sqlite_world
    yield KeyLives
    del KeyLives.world


def test_keys_open_as_long_as_the_acts_say(machine: type[KeyLives]) -> None:
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(max_examples=20, stateful_step_count=20, deadline=None),
    )

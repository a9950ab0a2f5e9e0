"""Secrets that change while gateways run one after another: docs/operations/secrets.md."""

from __future__ import annotations

import psycopg
from sqlalchemy.engine import make_url
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import ADMIN_KEY


def test_two_users_of_the_database_take_turns(
    make_gateway: MakeGateway, postgres_database: str
) -> None:
    """Both act as the owner, who cannot log in: what one migrates and writes the other may use."""
    url = make_url(postgres_database)
    name = str(url.database)
    a, b, owner = f"{name}_a", f"{name}_b", f"{name}_owner"
    server = postgres_database.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in (
            f"CREATE ROLE {owner} NOLOGIN",
            f"CREATE ROLE {a} LOGIN PASSWORD 'one' IN ROLE {owner}",
            f"CREATE ROLE {b} LOGIN PASSWORD 'two' IN ROLE {owner}",
            f"ALTER ROLE {a} SET role TO {owner}",
            f"ALTER ROLE {b} SET role TO {owner}",
            f"ALTER DATABASE {name} OWNER TO {owner}",
            f"ALTER SCHEMA public OWNER TO {owner}",
        ):
            connection.execute(statement.encode())
    try:
        old = make_gateway(database_url=str(url.set(username=a)))
        tenant = old.tenant()
        new = make_gateway(database_url=str(url.set(username=b)))  # beside it, as in a roll
        assert new.anonymous(tenant.key).get("/v1/models").status_code == 200
        assert new.tenant().http.get("/v1/models").status_code == 200
        assert tenant.http.get("/v1/models").status_code == 200
        old.stop()
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {a} NOLOGIN".encode())
        assert new.tenant().upload()
        new.stop()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"REASSIGN OWNED BY {owner} TO tunesmith".encode())
            for role in (a, b, owner):
                connection.execute(f"DROP OWNED BY {role}".encode())
                connection.execute(f"DROP ROLE {role}".encode())


def test_gateways_get_a_new_administrators_key_one_by_one(
    make_gateway: MakeGateway, postgres_database: str
) -> None:
    shared = {"database_url": postgres_database, "admin_key_overlap_seconds": 600}
    old = make_gateway(**shared)
    new = make_gateway(**shared, admin_key="sk-ts-the-next-administrator")
    for gateway in (old, new):
        for key in (ADMIN_KEY, "sk-ts-the-next-administrator"):
            assert gateway.anonymous(key).get("/v1/tenants").status_code == 200
    restarted = make_gateway(**shared)  # the roll has not reached this one
    assert restarted.anonymous("sk-ts-the-next-administrator").get("/v1/tenants").is_success
    assert restarted.anonymous(ADMIN_KEY).get("/v1/tenants").is_success

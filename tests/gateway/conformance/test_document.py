"""The OpenAPI document: valid, and complete enough that a client can be generated from it."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.gateway.gateways import Gateway

OF_ANY = {"400", "404", "408", "413", "414", "431", "500", "503", "default"}
OF_KEYS = {"401", "403", "429"}


@pytest.fixture(scope="module")
def document(sqlite_gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{sqlite_gateway.url}/openapi.json", timeout=60).json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_it_is_valid_by_the_specification(document: dict[str, Any]) -> None:
    problems = [str(error.message) for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert problems == []


def test_every_operation_has_a_name_of_its_own_that_a_client_can_call(
    document: dict[str, Any],
) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for name in names:
        assert name.isidentifier(), name
        assert name.islower(), name
        assert not keyword.iskeyword(name), name
        assert "v1" not in name, name


def test_every_operation_says_what_it_does_takes_and_answers(document: dict[str, Any]) -> None:
    for route, operation in operations(document):
        for field in ("summary", "description", "tags"):
            assert operation[field], (route, field)
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (route, parameter["name"])
            assert parameter["schema"], (route, parameter["name"])
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [response["content"] for response in operation["responses"].values()]
        for content in contents:
            for media_type, body in content.items():
                assert body["schema"], (route, media_type)
        assert "200" in operation["responses"], route


def test_every_operation_documents_its_errors_and_its_key(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]
    for route, operation in operations(document):
        is_open = route in ("GET /healthz", "GET /readyz", "GET /metrics")
        assert bool(operation.get("security")) != is_open, route
        assert all(name in scheme for need in operation.get("security", ()) for name in need)
        expected = OF_ANY if is_open else OF_ANY | OF_KEYS
        assert expected <= set(operation["responses"]), route
        parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
        assert ("409" in operation["responses"]) == ("Idempotency-Key" in parameters), route
        for status, response in operation["responses"].items():
            if status != "200" and route != "GET /readyz":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (route, status)

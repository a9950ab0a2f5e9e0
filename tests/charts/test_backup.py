"""The CronJob of `tunesmith backup`: what it reads, where it writes, and as whom."""

from __future__ import annotations

from tests.charts.rendering import Object, changed, environment, of_kind, one, ready_made, render

from tunesmith.platform.cli.backup import MADE_BUT_OBJECTS_LOST

PRODUCTION = ready_made("production")


def pod(objects: list[Object]) -> Object:
    (found,) = of_kind(objects, "CronJob")
    return dict(found["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def test_it_has_an_account_a_role_and_a_database_url_of_its_own() -> None:
    objects = render(PRODUCTION)
    account = one(objects, "ServiceAccount", pod(objects)["serviceAccountName"])
    platform = one(objects, "ServiceAccount", "tunesmith-gateway")
    role = "eks.amazonaws.com/role-arn"
    assert account["metadata"]["annotations"][role].endswith("role/tunesmith-backup")
    assert platform["metadata"]["annotations"][role].endswith("role/tunesmith")
    (container,) = pod(objects)["containers"]
    assert container["args"] == ["s3://BACKUP-BUCKET/tunesmith", "--keep", "30"]
    variables = environment(container)
    secret = variables["TUNESMITH_DATABASE_URL"]["secretKeyRef"]
    assert secret == {"name": "tunesmith-backup-database", "key": "url"}
    assert variables["TUNESMITH_STORAGE_URL"] == "s3://BUCKET/tunesmith"
    assert variables["AWS_REGION"] == "REGION"
    assert "tunesmith/backup@sha256:" in container["image"]


def test_without_any_of_its_own_it_goes_by_the_platforms() -> None:
    own = {"database": {"existingSecret": ""}, "serviceAccountAnnotations": None}
    keys = {"storage": {"s3": {"existingSecret": "s3-keys"}}}
    objects = render(changed(PRODUCTION, keys, {"backup": own}))
    account = one(objects, "ServiceAccount", "tunesmith-backup")
    assert account["metadata"]["annotations"] == PRODUCTION["serviceAccounts"]["annotations"]
    variables = environment(pod(objects)["containers"][0])
    assert variables["TUNESMITH_DATABASE_URL"]["secretKeyRef"]["name"] == "tunesmith-database"
    assert variables["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"]["name"] == "s3-keys"


def test_a_volume_is_read_alone_and_another_one_written() -> None:
    values = changed(
        ready_made("single-gpu"), {"backup": {"enabled": True, "existingClaim": "vault"}}
    )
    spec = pod(render(values))
    (container,) = spec["containers"]
    assert container["args"][0] == "/backup"
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = {
        mount["mountPath"]: (claims[mount["name"]], mount.get("readOnly", False))
        for mount in container["volumeMounts"]
        if mount["name"] in claims
    }
    assert mounts == {"/storage": ("tunesmith-storage", True), "/backup": ("vault", False)}


def test_a_backup_that_found_objects_lost_is_not_made_again() -> None:
    """Each try would be another whole backup, which counts against `keep`."""
    (job,) = of_kind(render(PRODUCTION), "CronJob")
    rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    (ends,) = (rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob")
    assert ends["values"] == [MADE_BUT_OBJECTS_LOST]
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_it_reaches_database_storage_its_place_and_names_alone() -> None:
    peer = {"ipBlock": {"cidr": "10.9.0.0/16"}}
    values = changed(PRODUCTION, {"networkPolicy": {"backup": {"to": [peer], "ports": [9000]}}})
    policy = one(render(values), "NetworkPolicy", "tunesmith-backup")["spec"]
    assert policy["ingress"] == []
    ports = [[port["port"] for port in rule["ports"]] for rule in policy["egress"]]
    assert ports == [[53, 53], [5432], [443], [9000]]
    assert policy["egress"][3]["to"] == [peer]


def test_the_alert_waits_for_as_long_as_the_schedule_says() -> None:
    values = changed(PRODUCTION, {"backup": {"schedule": "@weekly", "alertHours": 240}})
    rules = one(render(values), "PrometheusRule", "tunesmith-rules-state")["spec"]
    (alert,) = (
        rule for rule in rules["groups"][0]["rules"] if rule.get("alert") == "TunesmithBackupFailed"
    )
    assert f"> {240 * 3600} or" in alert["expr"]

"""Values that contradict each other fail at render, with the reason and what to do."""

from __future__ import annotations

import pytest
from tests.charts.rendering import Object, changed, one, ready_made, refusal, render

MINIMAL = ready_made("minimal")
GPU = ready_made("single-gpu")
PRODUCTION = ready_made("production")


def base(**changes: object) -> Object:
    """A change to the base of single-gpu."""
    return {"bases": {"qwen-7b": changes}}


def engine(**changes: object) -> Object:
    return base(engine=changes)


CASES: dict[str, tuple[Object, Object, list[str]]] = {
    "no database": (
        GPU,
        {"database": {"existingSecret": ""}},
        ["There is no database", "kubectl create secret generic", "database.evaluation.enabled"],
    ),
    "two databases": (
        GPU,
        {"database": {"evaluation": {"enabled": True}}},
        ["two databases: database.existingSecret and database.evaluation.enabled"],
    ),
    "SQLite with several gateways": (
        GPU,
        {
            "database": {"existingSecret": "", "url": "sqlite:////var/tunesmith.db"},
            "gateway": {"replicas": 3},
        },
        ["database.url is SQLite", "the 3 gateways", "Use PostgreSQL"],
    ),
    "a password in values": (
        GPU,
        {"database": {"existingSecret": "", "url": "postgresql://me:secret@db/x"}},
        ["database.url has a password in it", "database.existingSecret"],
    ),
    "another database": (
        GPU,
        {"database": {"existingSecret": "", "url": "mysql://db/x"}},
        ["must begin with postgresql://"],
    ),
    "several gateways on the evaluation's database": (
        MINIMAL,
        {"gateway": {"replicas": 2}},
        ["without backup or failover", "2 gateways and 1 dispatchers", "gateway.replicas=1"],
    ),
    "gateways that scale on the evaluation's database": (
        MINIMAL,
        {"gateway": {"autoscaling": {"enabled": True, "max": 7}}},
        ["7 gateways"],
    ),
    "no administrator's key": (
        GPU,
        {"adminKey": {"existingSecret": ""}},
        ["no administrator's key", "adminKey.existingSecret"],
    ),
    "no storage": (
        GPU,
        {"storage": {"volume": {"enabled": False}}},
        ["no storage for files and adapters", "s3://BUCKET/PREFIX"],
    ),
    "two storages": (
        GPU,
        {"storage": {"url": "s3://bucket/x"}},
        ["both at storage.url (s3://bucket/x) and in storage.volume"],
    ),
    "a storage that is none": (
        PRODUCTION,
        {"storage": {"url": "https://bucket.example.com"}},
        ["use s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"],
    ),
    "a volume of one node for all": (
        GPU,
        {"storage": {"volume": {"singleNode": False}}},
        ['storage.volume.accessModes is ["ReadWriteOnce"]', "ReadWriteMany", "singleNode=true"],
    ),
    "weights of one node for all": (
        GPU,
        {"weights": {"singleNode": False}},
        ["weights.accessModes", "engines, trainers and the Jobs"],
    ),
    "keys of another storage": (
        PRODUCTION,
        {"storage": {"gcs": {"existingSecret": "x"}}},
        ["storage.gcs.existingSecret is set, but storage.url is s3://BUCKET/tunesmith"],
    ),
    "a backup of what is meant to be lost": (
        MINIMAL,
        {"backup": {"enabled": True, "place": "s3://backups"}},
        ["the release's own for evaluation", "database.existingSecret"],
    ),
    "a backup to nowhere": (
        GPU,
        {"backup": {"enabled": True}},
        ["no place for backups", "backup.place", "backup.existingClaim"],
    ),
    "a backup to two places": (
        PRODUCTION,
        {"backup": {"existingClaim": "backups"}},
        ["both to backup.place (s3://BACKUP-BUCKET/tunesmith) and to backup.existingClaim"],
    ),
    "a backup to no place": (
        GPU,
        {"backup": {"enabled": True, "place": "/backups"}},
        ['backup.place is "/backups"', "for a volume, backup.existingClaim"],
    ),
    "a backup within storage": (
        PRODUCTION,
        {"backup": {"place": "s3://BUCKET/tunesmith/backups"}},
        ["backup.place (s3://BUCKET/tunesmith/backups)", "lie in each other"],
    ),
    "storage within the backup": (
        PRODUCTION,
        {"backup": {"place": "s3://BUCKET/"}},
        ["lie in each other", "Choose another bucket"],
    ),
    "a backup into storage's volume": (
        GPU,
        {"backup": {"enabled": True, "existingClaim": "tunesmith-storage"}},
        ["the volume of the platform's own storage"],
    ),
    "a backup's S3 keys without S3": (
        GPU,
        {"backup": {"enabled": True, "existingClaim": "b", "s3": {"existingSecret": "x"}}},
        ["backup.s3.existingSecret is set, but neither"],
    ),
    "a backup's GCS keys without GCS": (
        PRODUCTION,
        {"backup": {"gcs": {"existingSecret": "x"}}},
        ["backup.gcs.existingSecret is set, but neither"],
    ),
    "two S3 servers at once": (
        PRODUCTION,
        {"backup": {"s3": {"endpointUrl": "https://s3.elsewhere"}}},
        ["one process knows one endpoint"],
    ),
    "no base": (MINIMAL, {"bases": {"pocket": None}}, ["There is no base"]),
    "two bases of a name": (
        MINIMAL,
        {
            "bases": {
                "second": {
                    "name": "tunesmith-pocket",
                    "model": {"source": "pocket"},
                    "maxModelLen": 64,
                }
            }
        },
        ['Two bases are named "tunesmith-pocket"'],
    ),
    "a hub base without an id": (
        GPU,
        {"bases": {"qwen-7b": None, "x": {"model": {"source": "hub"}, "maxModelLen": 64}}},
        ["bases.x.model.source is hub", "bases.x.model.id"],
    ),
    "an s3 base without a place": (
        GPU,
        {"bases": {"qwen-7b": {"model": {"source": "s3"}}}},
        ["bases.qwen-7b.model.uri is no s3://BUCKET/PREFIX"],
    ),
    "a volume base without a volume": (
        GPU,
        {"bases": {"qwen-7b": {"model": {"source": "volume"}}}},
        ["weights.existingClaim is empty", "nothing would ever put the files"],
    ),
    "names that get too long": (
        GPU,
        {
            "fullnameOverride": "a" * 40,
            "bases": {"a-long-name": {**GPU["bases"]["qwen-7b"], "name": "other"}},
        },
        ["more than 47 characters"],
    ),
    "more adapters in a batch than in memory": (
        GPU,
        engine(maxLoras=64, maxCpuLoras=8),
        ["maxCpuLoras (8) is below maxLoras (64)"],
    ),
    "max-loras above what a GPU's memory allows": (
        GPU,
        engine(maxLoras=200, maxCpuLoras=200),
        ["does not fit its GPUs", "maxLoras 200", "Lower maxLoras or maxLoraRank"],
    ),
    "weights above what a GPU's memory allows": (
        GPU,
        base(model={"parametersBillion": 72}),
        ["does not fit its GPUs", "134.1 GiB of weights", "36.0 GiB"],
    ),
    "adapters above the container's memory": (
        GPU,
        engine(maxCpuLoras=1000),
        ["maxCpuLoras 1000", "resources.limits.memory 48.0 GiB"],
    ),
    "a GPU engine without GPUs": (GPU, engine(gpus=0), ["device is gpu and gpus is 0"]),
    "an engine that never runs": (GPU, engine(replicas=0), ["replicas is 0", "keda"]),
    "to zero without KEDA": (
        GPU,
        engine(autoscaling={"kind": "hpa", "min": 0}),
        ["min is 0 and its kind is hpa", "only KEDA"],
    ),
    "KEDA without Prometheus": (
        GPU,
        engine(autoscaling={"kind": "keda"}),
        ["asks Prometheus", "autoscaling.prometheusUrl"],
    ),
    "an HPA without a metric": (
        GPU,
        engine(autoscaling={"kind": "hpa", "metricName": ""}),
        ["metricName, the external metric that it goes by, is empty"],
    ),
    "an engine's least above its most": (
        GPU,
        engine(autoscaling={"kind": "hpa", "min": 5, "max": 2}),
        ["min (5) is above its max (2)"],
    ),
    "arguments that the chart sets": (
        GPU,
        engine(extraArgs=["--max-loras=99"]),
        ["extraArgs has --max-loras, which the chart sets itself"],
    ),
    "a base that no group trains, for there is none": (
        GPU,
        {"ray": {"workerGroups": {"gpu": None}}},
        ['No worker group can train the base "qwen-7b"', "ray.workerGroups is empty"],
    ),
    "a base that no group trains, for none grows": (
        GPU,
        {"ray": {"workerGroups": {"gpu": {"maxReplicas": 0}}}},
        ["No worker group can train", "gpu has maxReplicas 0"],
    ),
    "a base that no group trains, for all are small": (
        GPU,
        {"ray": {"workerGroups": {"gpu": {"gpuMemoryGiB": 8}}}},
        ["No worker group can train", "GPUs of 8 GiB, and the weights alone take 14.2 GiB"],
    ),
    "a base that its group cannot train, for it has no GPU": (
        GPU,
        {
            "ray": {"workerGroups": {"cpu": {"gpus": 0}}},
            **base(training={"workerGroups": ["cpu"]}),
        },
        ["No worker group can train", "cpu has no GPU"],
    ),
    "a group that is not there": (
        GPU,
        base(training={"workerGroups": ["b200"]}),
        ['training.workerGroups names "b200", and ray.workerGroups has gpu'],
    ),
    "a group that is too small and not kept out": (
        GPU,
        {"ray": {"workerGroups": {"small": {"gpuMemoryGiB": 8}}}},
        ["Some worker groups cannot train", "bases.qwen-7b.training.workerGroups: [gpu]"],
    ),
    "a group's least above its most": (
        GPU,
        {"ray": {"workerGroups": {"gpu": {"minReplicas": 3}}}},
        ["minReplicas (3) is above its maxReplicas (1)"],
    ),
    "fault tolerance without Redis": (
        GPU,
        {"ray": {"gcsFaultTolerance": {"enabled": True}}},
        ["ray.gcsFaultTolerance.redisAddress"],
    ),
    "two ways in": (
        PRODUCTION,
        {"gateway": {"httpRoute": {"enabled": True}}},
        ["gateway.ingress and gateway.httpRoute are both enabled"],
    ),
    "an ingress without a host": (
        PRODUCTION,
        {"gateway": {"ingress": {"host": ""}}},
        ["needs gateway.ingress.host"],
    ),
    "keys in the clear": (
        PRODUCTION,
        {"gateway": {"ingress": {"tlsSecret": ""}}},
        ["keys would travel in the clear", "allowPlainHttp"],
    ),
    "a route that belongs to nothing": (
        GPU,
        {"gateway": {"httpRoute": {"enabled": True}}},
        ["gateway.httpRoute.parentRefs"],
    ),
    "scaling by a share of nothing": (
        PRODUCTION,
        {"gateway": {"resources": {"requests": {"cpu": None}}}},
        ["gateway.resources.requests.cpu is not set"],
    ),
    "gateways' least above their most": (
        PRODUCTION,
        {"gateway": {"autoscaling": {"min": 20}}},
        ["gateway.autoscaling.min (20) is above gateway.autoscaling.max (12)"],
    ),
    "TLS inside without certificates": (
        GPU,
        {"tls": {"internal": {"enabled": True}}},
        ["needs certificates", "tls.internal.issuerRef.name"],
    ),
    "TLS inside with half of the certificates": (
        GPU,
        {"tls": {"internal": {"enabled": True, "gateway": {"existingSecret": "x"}}}},
        ["in both tls.internal.gateway.existingSecret and tls.internal.engines.existingSecret"],
    ),
    "certificates from two places": (
        GPU,
        {
            "tls": {
                "internal": {
                    "enabled": True,
                    "issuerRef": {"name": "inside"},
                    "engines": {"existingSecret": "x"},
                }
            }
        },
        ["both from tls.internal.issuerRef (inside) and from tls.internal.engines.existingSecret"],
    ),
    "an RSA key of an elliptic curve's size": (
        GPU,
        {
            "tls": {
                "internal": {
                    "enabled": True,
                    "issuerRef": {"name": "inside"},
                    "privateKey": {"algorithm": "RSA"},
                }
            }
        },
        ["tls.internal.privateKey.size is 256", "2048 or more"],
    ),
    "certificates for nothing": (
        GPU,
        {"tls": {"internal": {"issuerRef": {"name": "inside"}}}},
        ["tls.internal.issuerRef is set, and tls.internal.enabled is false"],
    ),
    "nginx that speaks plain HTTP to TLS": (
        PRODUCTION,
        {"tls": {"internal": {"enabled": True, "issuerRef": {"name": "inside"}}}},
        ["nginx.ingress.kubernetes.io/backend-protocol"],
    ),
    "an engine's certificate as an argument": (
        GPU,
        engine(extraArgs=["--ssl-certfile=/x"]),
        ["extraArgs has --ssl-certfile, which the chart sets itself: tls.internal"],
    ),
    "a setting that the chart sets": (
        GPU,
        {"settings": {"admin_key": "x"}},
        ["settings.admin_key is set by adminKey"],
    ),
    "an issuer without an audience": (
        GPU,
        {"settings": {"oidc_issuer": "https://issuer"}},
        ["settings.oidc_issuer needs settings.oidc_audience"],
    ),
    "a judge's key without a judge": (
        GPU,
        {"evaluator": {"judgeKey": {"existingSecret": "x"}}},
        ["the key of settings.judge_url, which is not set"],
    ),
    "a smoke test of no base": (
        GPU,
        {"smokeTest": {"base": "x"}},
        ['smokeTest.base is "x"', "Qwen/Qwen2.5-7B-Instruct"],
    ),
    "an image without a digest": (
        PRODUCTION,
        {"images": {"workers": {"digest": ""}}},
        ["images.workers.digest is empty", "images.requireDigests"],
    ),
    "a base's image without a digest": (
        PRODUCTION,
        {"bases": {"qwen-7b": {"engine": {"image": {"repository": "vllm", "tag": "x"}}}}},
        ["bases.qwen-7b.engine.image.digest is empty"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_contradictions_are_refused_with_the_reason(case: str) -> None:
    values, change, words = CASES[case]
    said = refusal(changed(values, change))
    for word in words:
        assert word in said


UNKNOWN: dict[str, tuple[Object, str]] = {
    "a group": ({"gatway": {"replicas": 2}}, "'gatway' not allowed"),
    "a value": ({"gateway": {"replica": 2}}, "at '/gateway': additional properties 'replica'"),
    "a setting": ({"settings": {"request_per_minute": 5}}, "'request_per_minute' not allowed"),
    "an engine's": ({"bases": {"qwen-7b": {"engine": {"gpu": 2}}}}, "'gpu' not allowed"),
    "a group's": ({"ray": {"workerGroups": {"gpu": {"max": 2}}}}, "workerGroups/gpu"),
    "a type": ({"gateway": {"replicas": "two"}}, "at '/gateway/replicas': got string"),
    "no replica": ({"gateway": {"replicas": 0}}, "at '/gateway/replicas'"),
    "a rank that vLLM has not": ({"engineDefaults": {"maxLoraRank": 48}}, "8, 16, 32, 64"),
    "a schedule": ({"backup": {"schedule": "nightly"}}, "at '/backup/schedule'"),
    "a digest": ({"images": {"workers": {"digest": "latest"}}}, "/images/workers/digest"),
    "a way out of the volume": ({"bases": {"qwen-7b": {"model": {"path": "../x"}}}}, "/path"),
    "a base without its length": ({"bases": {"x": {"model": {"source": "pocket"}}}}, "maxModelLen"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_values_are_refused_by_the_schema(case: str) -> None:
    change, word = UNKNOWN[case]
    assert word in refusal(changed(GPU, change))


def test_what_nearly_contradicts_is_rendered() -> None:
    """The checks of memory know no more than they are told."""
    without_shape = changed(GPU, engine(maxLoras=200, maxCpuLoras=200))
    for key in ("parametersBillion", "hiddenSize", "intermediateSize", "kvSize", "layers"):
        del without_shape["bases"]["qwen-7b"]["model"][key]
    assert render(without_shape)
    bound = changed(
        GPU,
        {"ray": {"workerGroups": {"small": {"gpuMemoryGiB": 8}}}},
        base(training={"workerGroups": ["gpu"]}),
    )
    assert render(bound)
    assert render(changed(PRODUCTION, {"backup": {"place": "s3://BUCKET/tunesmith-backups"}}))


def test_a_trials_administrator_key_is_made_by_the_chart() -> None:
    first, second = (
        one(render(MINIMAL), "Secret", "tunesmith-evaluation")["stringData"] for _ in range(2)
    )
    assert first["admin-key"].startswith("sk-")
    assert len(first["password"]) == 32
    assert first["password"] in first["database-url"]
    assert first != second

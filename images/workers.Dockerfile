# syntax=docker/dockerfile:1
# Dispatcher, evaluator, Ray's head and workers, and the registration of bases, as two targets:
#   gpu: on vLLM's own image, whose torch it uses; GPU nodes have that image anyway, for the engines
#   cpu: slim, with the CPU build of torch; for clusters without GPUs
#   make images, or: docker build -f images/workers.Dockerfile --target gpu -t tunesmith/workers:0.1.0 .
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-trixie@sha256:9534e5a8e315485d4061ed659af0fd78a284c015f9b73661b41d6bab25604534
# Give it with its digest, the same as images.engine of the chart's values.
ARG VLLM_IMAGE=docker.io/vllm/vllm-openai:v0.32.0

FROM ${PYTHON_IMAGE} AS requirements
# 1 for storage at gs://
ARG GCS=
WORKDIR /build
COPY pyproject.toml ./
COPY requirements/lock.txt requirements/gcs.txt requirements/
COPY scripts/image_requirements.py scripts/image_requirements.py
RUN for part in workers workers-gpu build; do \
        python scripts/image_requirements.py "$part" > "requirements/$part.txt" || exit 1; \
    done && if [ -z "$GCS" ]; then : > requirements/gcs.txt; fi

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /build
COPY --from=requirements /build/requirements/build.txt requirements/build.txt
RUN pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
        -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY workers workers
COPY platform platform
# An image carries one side: the gateway's package stays out.
RUN mkdir -p gateway/tunesmith && pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM ${PYTHON_IMAGE} AS cpu-build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=requirements /build/requirements/workers.txt /build/requirements/gcs.txt /build/
COPY --from=wheel /wheel /wheel
RUN python -m venv --without-pip /opt/tunesmith \
    && pip --python /opt/tunesmith/bin/python install --no-cache-dir --no-deps --require-hashes \
        --only-binary=:all: --no-compile --extra-index-url "${TORCH_INDEX}" -r /build/workers.txt \
        -r /build/gcs.txt \
    && pip --python /opt/tunesmith/bin/python install --no-cache-dir --no-deps --no-index \
        --no-compile /wheel/*.whl \
    && (python -m compileall -q -j 0 /opt/tunesmith/lib || true)

FROM ${VLLM_IMAGE} AS gpu-build
# hadolint ignore=DL3002
USER 0
COPY --from=requirements /build/requirements/workers-gpu.txt /build/requirements/gcs.txt /build/
COPY --from=wheel /wheel /wheel
# What is pinned here wins over what the image has, and torch is the image's.
RUN python3 -m venv --system-site-packages --without-pip /opt/tunesmith \
    && python3 -m pip --python /opt/tunesmith/bin/python install --no-cache-dir --no-deps \
        --ignore-installed --require-hashes --only-binary=:all: --no-compile \
        -r /build/workers-gpu.txt -r /build/gcs.txt \
    && python3 -m pip --python /opt/tunesmith/bin/python install --no-cache-dir --no-deps --no-index \
        --no-compile /wheel/*.whl \
    && /opt/tunesmith/bin/python -c "import torch; assert torch.version.cuda" \
    && (python3 -m compileall -q -j 0 /opt/tunesmith/lib || true)

FROM ${PYTHON_IMAGE} AS cpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tunesmith workers (CPU)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/tunesmith/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    TUNESMITH_HOME=/var/lib/tunesmith
RUN groupadd --gid 10001 tunesmith \
    && useradd --uid 10001 --gid tunesmith --home-dir /var/lib/tunesmith --create-home \
        --shell /usr/sbin/nologin tunesmith
COPY --from=cpu-build /opt/tunesmith /opt/tunesmith
USER 10001:10001
WORKDIR /var/lib/tunesmith
# Kubernetes has probes of its own.
HEALTHCHECK NONE
CMD ["python", "-m", "tunesmith.workers.dispatcher"]

FROM ${VLLM_IMAGE} AS gpu
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tunesmith workers (GPU)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/tunesmith/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    TUNESMITH_HOME=/var/lib/tunesmith
USER 0
RUN groupadd --gid 10001 tunesmith \
    && useradd --uid 10001 --gid tunesmith --home-dir /var/lib/tunesmith --create-home \
        --shell /usr/sbin/nologin tunesmith
COPY --from=gpu-build /opt/tunesmith /opt/tunesmith
USER 10001:10001
WORKDIR /var/lib/tunesmith
HEALTHCHECK NONE
ENTRYPOINT []
CMD ["python", "-m", "tunesmith.workers.dispatcher"]

{{/* The engine's own environment: the same as engine_environment in
workers/tunesmith/workers/engine/command.py, and what vLLM's image needs to run as an unknown user
with a read-only root. */}}
{{- define "tunesmith.engine.env" -}}
- name: PYTHONPATH
  value: /opt/tunesmith-plugin
- name: VLLM_PLUGINS
  value: tunesmith_adapters
- name: VLLM_ALLOW_RUNTIME_LORA_UPDATING
  value: "True"
- name: VLLM_NO_USAGE_STATS
  value: "1"
- name: DO_NOT_TRACK
  value: "1"
- name: HF_HUB_OFFLINE
  value: "1"
- name: TOKENIZERS_PARALLELISM
  value: "false"
# Without an entry in /etc/passwd, PyTorch's compiler asks for a name of the user.
- name: USER
  value: tunesmith
- name: XDG_CACHE_HOME
  value: /tmp/cache
- name: XDG_CONFIG_HOME
  value: /tmp/config
- name: VLLM_CACHE_ROOT
  value: /tmp/cache/vllm
- name: TORCHINDUCTOR_CACHE_DIR
  value: /tmp/cache/inductor
- name: TRITON_CACHE_DIR
  value: /tmp/cache/triton
{{- if eq .engine.device "cpu" }}
- name: VLLM_CPU_KVCACHE_SPACE
  value: "1"
- name: VLLM_CPU_OMP_THREADS_BIND
  value: nobind
{{- end }}
{{- if include "tunesmith.tls" .root }}
# vLLM watches its certificate by inode, and Kubernetes replaces the whole folder: it would see the first
# new one, and none after it. By polling it sees all.
- name: WATCHFILES_FORCE_POLLING
  value: "true"
- name: WATCHFILES_POLL_DELAY_MS
  value: "10000"
{{- end }}
{{- with .root.Values.tracing.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_TRACES_PROTOCOL
  value: http/protobuf
- name: OTEL_TRACES_SAMPLER
  value: parentbased_always_off
- name: OTEL_SERVICE_NAME
  value: tunesmith-engine
{{- end }}
{{- end -}}

{{- define "tunesmith.engine.image" -}}
{{- if .engine.image.repository -}}
{{- include "tunesmith.image" (dict "root" .root "image" .engine.image "what" (printf "bases.%s.engine.image" .key)) -}}
{{- else -}}
{{- include "tunesmith.image" (dict "root" .root "image" .root.Values.images.engine "what" "images.engine") -}}
{{- end -}}
{{- end -}}

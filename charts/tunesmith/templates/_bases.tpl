{{/* Bases and their engines. */}}

{{/* A base's name in the API. */}}
{{- define "tunesmith.base.name" -}}
{{ .base.name | default .key }}
{{- end -}}

{{/* Directory of a base's files in the engine. */}}
{{- define "tunesmith.base.directory" -}}
/models/{{ .base.model.path | default .key }}{{ with .base.model.revision }}-{{ . | replace "/" "-" | trunc 12 }}{{ end }}
{{- end -}}

{{/* Where the pull Job gets a base: what tunesmith.workers.bases.pull reads. */}}
{{- define "tunesmith.base.origin" -}}
{{- $model := .base.model -}}
{{- if eq $model.source "hub" -}}
hub:{{ $model.id }}{{ with $model.revision }}@{{ . }}{{ end }}
{{- else if eq $model.source "s3" -}}
{{ $model.uri }}
{{- else -}}
{{ $model.source }}
{{- end -}}
{{- end -}}

{{/* URL of every base's engines: scheme and suffix by who asks. */}}
{{- define "tunesmith.engines.dns" -}}
{{- $urls := list -}}
{{- range $key, $base := .Values.bases -}}
{{- if $base -}}
{{- if include "tunesmith.tls" $ -}}
{{- $urls = append $urls (printf "dns+https://%s:8000" (include "tunesmith.tls.podsName" (dict "root" $ "key" $key))) -}}
{{- end -}}
{{- if or (not (include "tunesmith.tls" $)) $.Values.tls.internal.transition -}}
{{- $urls = append $urls (printf "dns://%s-engine-%s-pods:8000" (include "tunesmith.fullname" $) $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}

{{- define "tunesmith.engines.http" -}}
{{- $urls := list -}}
{{- range $key, $base := .Values.bases -}}
{{- if $base -}}
{{- if include "tunesmith.tls" $ -}}
{{- $urls = append $urls (printf "https://%s:8000" (include "tunesmith.tls.engineName" (dict "root" $ "key" $key))) -}}
{{- else -}}
{{- $urls = append $urls (printf "http://%s-engine-%s:8000" (include "tunesmith.fullname" $) $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- join "," $urls -}}
{{- end -}}

{{/* `vllm serve`'s arguments: (dict "root" $ "key" .. "base" .. "engine" ..). The same as
engine_flags in workers/tunesmith/workers/engine/command.py makes (tests/charts compares), after the
model and the address, and before what a cluster adds: tensor parallelism, and time to end in. */}}
{{- define "tunesmith.engine.args" -}}
- {{ include "tunesmith.base.directory" . | quote }}
- --host
- 0.0.0.0
- --port
- "8000"
- --served-model-name
- {{ include "tunesmith.base.name" . | quote }}
- --max-model-len
- {{ int .base.maxModelLen | quote }}
- --enable-lora
- --max-loras
- {{ int .engine.maxLoras | quote }}
- --max-cpu-loras
- {{ int .engine.maxCpuLoras | quote }}
- --max-lora-rank
- {{ int .engine.maxLoraRank | quote }}
- --chat-template-content-format
- string
- --enable-prompt-tokens-details
- --disable-uvicorn-access-log
{{- with .root.Values.tracing.otlpEndpoint }}
- --otlp-traces-endpoint
- {{ trimSuffix "/" . }}/v1/traces
{{- end }}
{{- if eq .engine.device "gpu" }}
- --gpu-memory-utilization
- {{ .engine.gpuMemoryUtilization | quote }}
{{- else }}
- --dtype
- float32
- --enforce-eager
{{- end }}
{{- if and (eq .engine.device "gpu") (gt (int .engine.gpus) 1) }}
- --tensor-parallel-size
- {{ int .engine.gpus | quote }}
{{- end }}
- --shutdown-timeout
- {{ int .engine.shutdownSeconds | quote }}
{{- if include "tunesmith.tls" .root }}
- --ssl-certfile
- /etc/tunesmith/tls/tls.crt
- --ssl-keyfile
- /etc/tunesmith/tls/tls.key
- --enable-ssl-refresh
{{- end }}
{{- range .engine.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* A text as a label's value: metrics adapters make the same of slashes. */}}
{{- define "tunesmith.labelValue" -}}
{{- . | replace "/" "_" | trunc 63 | trimSuffix "-" | trimSuffix "_" -}}
{{- end -}}

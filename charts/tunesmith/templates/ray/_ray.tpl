{{/* What the trainers run on: "cuda" where any group of workers has GPUs. Said outright, because a
cluster whose GPU workers are at zero looks like one without GPUs. */}}
{{- define "tunesmith.ray.device" -}}
{{- $device := "cpu" -}}
{{- range $name, $given := .Values.ray.workerGroups -}}
{{- if $given -}}
{{- $group := mergeOverwrite (deepCopy $.Values.ray.workerGroupDefaults) (deepCopy $given) -}}
{{- if gt (int $group.gpus) 0 -}}{{- $device = "cuda" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $device -}}
{{- end -}}

{{/* Most cohorts of one base: as many as groups have GPUs when they are full; on CPU one, for a
cohort takes all cores that there are. */}}
{{- define "tunesmith.ray.cohortsPerBase" -}}
{{- $gpus := 0 -}}
{{- range $name, $given := .Values.ray.workerGroups -}}
{{- if $given -}}
{{- $group := mergeOverwrite (deepCopy $.Values.ray.workerGroupDefaults) (deepCopy $given) -}}
{{- $gpus = add $gpus (mul (int $group.maxReplicas) (int $group.gpus)) -}}
{{- end -}}
{{- end -}}
{{- max 1 $gpus -}}
{{- end -}}

{{/* Environment of Ray's containers: what cohorts and preparations need, and no key of the platform. */}}
{{- define "tunesmith.ray.env" -}}
{{ include "tunesmith.env" . }}
{{ include "tunesmith.env.storage" . }}
- name: RAY_USAGE_STATS_ENABLED
  value: "0"
- name: PYTHONUNBUFFERED
  value: "1"
- name: HF_HUB_OFFLINE
  value: "1"
{{- with .Values.tracing.otlpEndpoint }}
- name: TUNESMITH_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* A raylet's own word, at its agent: what KubeRay asks too. */}}
{{- define "tunesmith.ray.probes" -}}
startupProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 12
readinessProbe:
  httpGet: {path: /api/healthz, port: 52365}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 10
{{- end -}}

{{- define "tunesmith.ray.lifecycle" -}}
lifecycle:
  preStop:
    exec:
      command: [ray, stop]
{{- end -}}

{{/* Ray resources that bind trainers to groups of workers: base's name -> {resource: share}. */}}
{{- define "tunesmith.ray.trainerResources" -}}
{{- $bound := dict -}}
{{- range $key, $base := .Values.bases -}}
{{- if $base -}}
{{- if dig "training" "workerGroups" (list) $base -}}
{{- $_ := set $bound (include "tunesmith.base.name" (dict "key" $key "base" $base)) (dict (printf "tunesmith-base-%s" $key) 0.001) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $bound }}{{ toJson $bound }}{{ end -}}
{{- end -}}

{{/* The bound resources that a group has: (dict "root" $ "group" NAME), all of them for the head, where
files are read and no trainer fits, for it has no CPU. */}}
{{- define "tunesmith.ray.groupResources" -}}
{{- $group := .group -}}
{{- range $key, $base := .root.Values.bases -}}
{{- if $base -}}
{{- $wanted := dig "training" "workerGroups" (list) $base -}}
{{- if and $wanted (or (not $group) (has $group $wanted)) }}
tunesmith-base-{{ $key }}: "1000"
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

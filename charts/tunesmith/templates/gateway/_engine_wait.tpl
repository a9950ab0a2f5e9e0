{{/* Seconds for which a gateway holds a request for an engine that is not there yet. */}}
{{- define "tunesmith.gateway.engineWait" -}}
{{- $seconds := 2 -}}
{{- range $key, $base := .Values.bases -}}
{{- if $base -}}
{{- $engine := mergeOverwrite (deepCopy $.Values.engineDefaults) (deepCopy ($base.engine | default dict)) -}}
{{- if and (eq $engine.autoscaling.kind "keda") (eq (int $engine.autoscaling.min) 0) -}}
{{- $seconds = max $seconds (int $engine.startupSeconds) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.gateway.engineWaitSeconds) 0 -}}
{{- int .Values.gateway.engineWaitSeconds -}}
{{- else -}}
{{- $seconds -}}
{{- end -}}
{{- end -}}

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

{{/* What a gateway takes all engines to hold: (dict "root" $ "what" "maxLoras"). Where bases differ,
the least of them: an engine asked to hold more than it can would load adapters over and over. */}}
{{- define "tunesmith.gateway.leastOfEngines" -}}
{{- $least := 0 -}}
{{- range $key, $base := .root.Values.bases -}}
{{- if $base -}}
{{- $engine := mergeOverwrite (deepCopy $.root.Values.engineDefaults) (deepCopy ($base.engine | default dict)) -}}
{{- $own := int (index $engine $.what) -}}
{{- if or (eq $least 0) (lt $own $least) -}}{{- $least = $own -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $least -}}
{{- end -}}

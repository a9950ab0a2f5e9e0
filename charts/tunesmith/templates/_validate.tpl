{{/* Values that contradict each other: the reason, and what to do. */}}
{{- define "tunesmith.validate" -}}
{{- end -}}

{{/* Rules of NetworkPolicies. */}}

{{/* Pods of this release: (dict "root" $ "parts" (list "gateway")). */}}
{{- define "tunesmith.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ include "tunesmith.name" .root }}
      app.kubernetes.io/instance: {{ .root.Release.Name }}
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: {{ toJson .parts }}
{{- end -}}

{{- define "tunesmith.ports" -}}
{{- range . }}
- {protocol: TCP, port: {{ int . }}}
{{- end }}
{{- end -}}

{{/* An egress rule of `networkPolicy`'s values: peers (any where there is none) and ports. */}}
{{- define "tunesmith.egress" -}}
- ports:
    {{- include "tunesmith.ports" .ports | nindent 4 }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "tunesmith.egress.dns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with .Values.networkPolicy.dns }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "tunesmith.egress.database" -}}
{{- if .Values.database.evaluation.enabled -}}
- to:
    {{- include "tunesmith.peers" (dict "root" . "parts" (list "postgresql")) | nindent 4 }}
  ports:
    - {protocol: TCP, port: 5432}
{{- else -}}
{{ include "tunesmith.egress" .Values.networkPolicy.database }}
{{- end -}}
{{- end -}}

{{- define "tunesmith.egress.storage" -}}
{{- if .Values.storage.url -}}
{{ include "tunesmith.egress" .Values.networkPolicy.storage }}
{{- end -}}
{{- end -}}

{{- define "tunesmith.egress.tracing" -}}
{{- if .Values.tracing.otlpEndpoint -}}
{{ include "tunesmith.egress" .Values.networkPolicy.tracing }}
{{- end -}}
{{- end -}}

{{- define "tunesmith.egress.engines" -}}
- to:
    {{- include "tunesmith.peers" (dict "root" . "parts" (list "engine")) | nindent 4 }}
  ports:
    - {protocol: TCP, port: 8000}
{{- end -}}

{{/* Scraping: (dict "root" $ "ports" (list 8000)). */}}
{{- define "tunesmith.ingress.metrics" -}}
{{- with .root.Values.networkPolicy.metricsFrom -}}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    {{- include "tunesmith.ports" $.ports | nindent 4 }}
{{- end -}}
{{- end -}}

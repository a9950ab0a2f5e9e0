{{/* TLS at the gateway's own port and at engines': who has which certificate, and who believes whom. */}}

{{/* "true" or "". */}}
{{- define "tunesmith.tls" -}}
{{- if .Values.tls.internal.enabled -}}true{{- end -}}
{{- end -}}

{{/* Names that certificates are for, and that callers ask by. */}}
{{- define "tunesmith.tls.gatewayName" -}}
{{ include "tunesmith.fullname" . }}-gateway.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* (dict "root" $ "key" "qwen-7b"): any engine of a base, for dispatcher and evaluator. */}}
{{- define "tunesmith.tls.engineName" -}}
{{ include "tunesmith.fullname" .root }}-engine-{{ .key }}.{{ .root.Release.Namespace }}.svc
{{- end -}}

{{/* Each engine of a base, for gateways and Prometheus. */}}
{{- define "tunesmith.tls.podsName" -}}
{{ include "tunesmith.fullname" .root }}-engine-{{ .key }}-pods.{{ .root.Release.Namespace }}.svc
{{- end -}}

{{- define "tunesmith.tls.gatewaySecret" -}}
{{ .Values.tls.internal.gateway.existingSecret | default (printf "%s-gateway-tls" (include "tunesmith.fullname" .)) }}
{{- end -}}

{{- define "tunesmith.tls.engineSecret" -}}
{{ .root.Values.tls.internal.engines.existingSecret | default (printf "%s-engine-%s-tls" (include "tunesmith.fullname" .root) .key) }}
{{- end -}}

{{/* Secret whose ca.crt signs engines' certificates: one issuer signs all, so the gateway's will do. */}}
{{- define "tunesmith.tls.enginesAuthority" -}}
{{ .Values.tls.internal.engines.existingSecret | default (include "tunesmith.tls.gatewaySecret" .) }}
{{- end -}}

{{/* What a process that is called shows: certificate and key. */}}
{{- define "tunesmith.tls.mount" -}}
- name: tls
  mountPath: /etc/tunesmith/tls
  readOnly: true
{{- end -}}

{{/* (dict "secret" "..."): not its ca.crt, which the process has no use for. */}}
{{- define "tunesmith.tls.volume" -}}
- name: tls
  secret:
    secretName: {{ .secret }}
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end -}}

{{/* What a process that calls believes: a certificate, and never a key. */}}
{{- define "tunesmith.tls.authorityMount" -}}
- name: internal-authority
  mountPath: /etc/tunesmith/internal-authority
  readOnly: true
{{- end -}}

{{/* (dict "root" $ "secret" "..."). */}}
{{- define "tunesmith.tls.authorityVolume" -}}
- name: internal-authority
  {{- with .root.Values.tls.internal.caConfigMap }}
  configMap:
    name: {{ . }}
  {{- else }}
  secret:
    secretName: {{ .secret }}
  {{- end }}
    items:
      - {key: ca.crt, path: ca.crt}
{{- end -}}

{{- define "tunesmith.env.enginesAuthority" -}}
{{- if include "tunesmith.tls" . }}
- name: TUNESMITH_ENGINE_CA_FILE
  value: /etc/tunesmith/internal-authority/ca.crt
{{- end }}
{{- end -}}

{{- define "tunesmith.mounts.enginesAuthority" -}}
{{- if include "tunesmith.tls" . }}
{{ include "tunesmith.tls.authorityMount" . }}
{{- end }}
{{- end -}}

{{- define "tunesmith.volumes.enginesAuthority" -}}
{{- if include "tunesmith.tls" . }}
{{ include "tunesmith.tls.authorityVolume" (dict "root" . "secret" (include "tunesmith.tls.enginesAuthority" .)) }}
{{- end }}
{{- end -}}

{{/* How kubelet asks: it believes any certificate. */}}
{{- define "tunesmith.probeScheme" -}}
{{- if include "tunesmith.tls" . -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{/* How prometheus-operator's monitors ask: (dict "root" $ "name" "..." "secret" "..."). */}}
{{- define "tunesmith.monitorTls" -}}
scheme: https
tlsConfig:
  serverName: {{ .name }}
  ca:
    {{- with .root.Values.tls.internal.caConfigMap }}
    configMap:
      name: {{ . }}
      key: ca.crt
    {{- else }}
    secret:
      name: {{ .secret }}
      key: ca.crt
    {{- end }}
{{- end -}}

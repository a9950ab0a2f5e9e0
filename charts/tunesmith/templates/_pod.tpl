{{/* What every pod and container has: identity, security, environment, volumes. */}}

{{- define "tunesmith.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.security.runAsUser }}
runAsUser: {{ int . }}
{{- end }}
{{- with .Values.security.runAsGroup }}
runAsGroup: {{ int . }}
{{- end }}
{{- with .Values.security.fsGroup }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: {{ .Values.security.seccompProfile }}
{{- end -}}

{{- define "tunesmith.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  type: {{ .Values.security.seccompProfile }}
{{- end -}}

{{/* Head of a pod's spec: (dict "root" $ "part" "gateway"). Service links would set variables such
as TUNESMITH_PORT from the names of Services. */}}
{{- define "tunesmith.podHead" -}}
serviceAccountName: {{ include "tunesmith.fullname" .root }}-{{ .part }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "tunesmith.podSecurity" .root | nindent 2 }}
{{- end -}}

{{/* Where a pod may run: nodeSelector, tolerations, affinity, classes of `.`. */}}
{{- define "tunesmith.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Resources with GPUs: (dict "of" $engine "gpus" 1). */}}
{{- define "tunesmith.resources" -}}
{{- $resources := deepCopy .of.resources -}}
{{- if gt (int .gpus) 0 -}}
{{- $limits := $resources.limits | default dict -}}
{{- $_ := set $limits .of.gpuResource (int .gpus) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Environment of all of the platform's processes that is the same everywhere. */}}
{{- define "tunesmith.env" -}}
- name: TUNESMITH_HOME
  value: /var/lib/tunesmith
- name: HOME
  value: /tmp
{{- include "tunesmith.env.authorities" . }}
{{- end -}}

{{- define "tunesmith.env.authorities" -}}
{{- if .Values.tls.caConfigMap }}
{{- $file := "/etc/tunesmith/authorities/ca.crt" }}
- name: SSL_CERT_FILE
  value: {{ $file }}
- name: REQUESTS_CA_BUNDLE
  value: {{ $file }}
- name: AWS_CA_BUNDLE
  value: {{ $file }}
- name: PGSSLROOTCERT
  value: {{ $file }}
{{- end }}
{{- end -}}

{{- define "tunesmith.env.database" -}}
- name: TUNESMITH_DATABASE_URL
{{- if .Values.database.url }}
  value: {{ .Values.database.url | quote }}
{{- else }}
  valueFrom:
    secretKeyRef:
      {{- if .Values.database.evaluation.enabled }}
      name: {{ include "tunesmith.evaluationSecret" . }}
      key: database-url
      {{- else }}
      name: {{ .Values.database.existingSecret }}
      key: {{ .Values.database.key }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "tunesmith.env.adminKey" -}}
- name: TUNESMITH_ADMIN_KEY
  valueFrom:
    secretKeyRef:
      {{- if .Values.adminKey.existingSecret }}
      name: {{ .Values.adminKey.existingSecret }}
      key: {{ .Values.adminKey.key }}
      {{- else }}
      name: {{ include "tunesmith.evaluationSecret" . }}
      key: admin-key
      {{- end }}
{{- end -}}

{{- define "tunesmith.storageUrl" -}}
{{- if .Values.storage.volume.enabled -}}
/storage
{{- else -}}
{{ .Values.storage.url }}
{{- end -}}
{{- end -}}

{{- define "tunesmith.storageClaim" -}}
{{ .Values.storage.volume.existingClaim | default (printf "%s-storage" (include "tunesmith.fullname" .)) }}
{{- end -}}

{{/* What fsspec's S3 and GCS need to reach storage. */}}
{{- define "tunesmith.env.storage" -}}
- name: TUNESMITH_STORAGE_URL
  value: {{ include "tunesmith.storageUrl" . | quote }}
{{- with .Values.storage.s3.endpointUrl }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.storage.s3.region }}
- name: AWS_REGION
  value: {{ . | quote }}
- name: AWS_DEFAULT_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.storage.s3.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.storage.s3.accessKeyIdKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.storage.s3.secretAccessKeyKey }}
{{- end }}
{{- if .Values.storage.gcs.existingSecret }}
- name: GOOGLE_APPLICATION_CREDENTIALS
  value: /etc/tunesmith/gcs/credentials.json
{{- end }}
{{- end -}}

{{/* Ray's token, for what speaks to Ray and is not KubeRay's own pod. */}}
{{- define "tunesmith.env.ray" -}}
- name: RAY_AUTH_MODE
  value: token
- name: RAY_AUTH_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "tunesmith.raySecret" . }}
      key: auth_token
{{- if .Values.ray.tls.enabled }}
- name: RAY_USE_TLS
  value: "1"
- name: RAY_TLS_SERVER_CERT
  value: /etc/ray/tls/tls.crt
- name: RAY_TLS_SERVER_KEY
  value: /etc/ray/tls/tls.key
- name: RAY_TLS_CA_CERT
  value: /etc/ray/tls/ca.crt
{{- end }}
{{- end -}}

{{/* Mounts of every container: a read-only root needs places to write. */}}
{{- define "tunesmith.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: home
  mountPath: /var/lib/tunesmith
{{- if .Values.tls.caConfigMap }}
- name: authorities
  mountPath: /etc/tunesmith/authorities
  readOnly: true
{{- end }}
{{- end -}}

{{- define "tunesmith.mounts.storage" -}}
{{- if .Values.storage.volume.enabled }}
- name: storage
  mountPath: /storage
{{- end }}
{{- if .Values.storage.gcs.existingSecret }}
- name: gcs
  mountPath: /etc/tunesmith/gcs
  readOnly: true
{{- end }}
{{- end -}}

{{- define "tunesmith.volumes" -}}
- name: tmp
  emptyDir: {}
- name: home
  emptyDir: {}
{{- if .Values.tls.caConfigMap }}
- name: authorities
  configMap:
    name: {{ .Values.tls.caConfigMap }}
    items:
      - key: {{ .Values.tls.caKey }}
        path: ca.crt
{{- end }}
{{- end -}}

{{- define "tunesmith.volumes.storage" -}}
{{- if .Values.storage.volume.enabled }}
- name: storage
  persistentVolumeClaim:
    claimName: {{ include "tunesmith.storageClaim" . }}
{{- end }}
{{- if .Values.storage.gcs.existingSecret }}
- name: gcs
  secret:
    secretName: {{ .Values.storage.gcs.existingSecret }}
    items:
      - key: {{ .Values.storage.gcs.key }}
        path: credentials.json
{{- end }}
{{- end -}}

{{/* Whether a base has files in the weights' volume: "true" or "". */}}
{{- define "tunesmith.needsWeights" -}}
{{- range $name, $base := .Values.bases -}}
{{- if $base -}}
{{- if ne $base.model.source "pocket" -}}true{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "readOnly" true) */}}
{{- define "tunesmith.mounts.weights" -}}
{{- if include "tunesmith.needsWeights" .root }}
- name: weights
  mountPath: /models
  readOnly: {{ .readOnly }}
{{- end }}
{{- end -}}

{{- define "tunesmith.volumes.weights" -}}
{{- if include "tunesmith.needsWeights" .root }}
- name: weights
  persistentVolumeClaim:
    claimName: {{ .root.Values.weights.existingClaim | default (printf "%s-weights" (include "tunesmith.fullname" .root)) }}
    readOnly: {{ .readOnly }}
{{- end }}
{{- end -}}

{{/* Rolls a part's pods when the settings change. */}}
{{- define "tunesmith.podAnnotations" -}}
tunesmith.ai/settings: {{ include "tunesmith.settings" .root | sha256sum | trunc 16 }}
{{- with .annotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tunesmith.podLabels" -}}
{{ include "tunesmith.selector" . }}
app.kubernetes.io/part-of: tunesmith
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The settings that all of the platform's processes share, as a ConfigMap's data. */}}
{{- define "tunesmith.settings" -}}
TUNESMITH_LOG_FORMAT: json
TUNESMITH_METRICS_HOST: 0.0.0.0
TUNESMITH_MIGRATE: wait
{{- with .Values.tracing.otlpEndpoint }}
TUNESMITH_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "slice" $value }}
TUNESMITH_{{ upper $name }}: {{ join "," $value | quote }}
{{- else if kindIs "float64" $value }}
TUNESMITH_{{ upper $name }}: {{ if eq (floor $value) $value }}{{ printf "%.0f" $value | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- else if not (kindIs "invalid" $value) }}
TUNESMITH_{{ upper $name }}: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tunesmith.envFrom" -}}
- configMapRef:
    name: {{ include "tunesmith.fullname" . }}-settings
{{- end -}}

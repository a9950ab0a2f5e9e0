{{- define "tunesmith.base.podSpec" -}}
{{- $root := .root -}}
{{- $engine := mergeOverwrite (deepCopy $root.Values.engineDefaults) (deepCopy (.base.engine | default dict)) -}}
{{- $source := .base.model.source -}}
{{ include "tunesmith.podHead" (dict "root" $root "part" "bases") }}
restartPolicy: OnFailure
{{- if has $source (list "hub" "s3") }}
initContainers:
  - name: pull
    image: {{ include "tunesmith.image.workers" $root }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    command: [python, -m, tunesmith.workers.bases.pull, {{ include "tunesmith.base.origin" . | quote }}, {{ include "tunesmith.base.directory" . }}]
    env:
      {{- include "tunesmith.env" $root | nindent 6 }}
      {{- include "tunesmith.env.storage" $root | nindent 6 }}
      - name: HF_HOME
        value: /tmp/huggingface
      - name: HF_HUB_DISABLE_TELEMETRY
        value: "1"
      {{- with $root.Values.weights.hubEndpoint }}
      - name: HF_ENDPOINT
        value: {{ . | quote }}
      {{- end }}
      {{- with $root.Values.weights.hubTokenSecret }}
      - name: HF_TOKEN
        valueFrom:
          secretKeyRef:
            name: {{ . }}
            key: {{ $root.Values.weights.hubTokenKey }}
      {{- end }}
    resources:
      {{- toYaml $root.Values.weights.resources | nindent 6 }}
    securityContext:
      {{- include "tunesmith.containerSecurity" $root | nindent 6 }}
    volumeMounts:
      {{- include "tunesmith.mounts" $root | nindent 6 }}
      {{- include "tunesmith.mounts.storage" $root | nindent 6 }}
      {{- include "tunesmith.mounts.weights" (dict "root" $root "readOnly" false) | nindent 6 }}
{{- end }}
containers:
  - name: register
    image: {{ include "tunesmith.image.workers" $root }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    command: [python, -m, tunesmith.workers.bases]
    envFrom:
      {{- include "tunesmith.envFrom" $root | nindent 6 }}
    env:
      {{- include "tunesmith.env" $root | nindent 6 }}
      {{- include "tunesmith.env.database" $root | nindent 6 }}
      - name: TUNESMITH_BASE
        value: {{ if eq $source "pocket" }}pocket{{ else }}{{ include "tunesmith.base.directory" . }}{{ end }}
      - name: TUNESMITH_BASE_NAME
        value: {{ include "tunesmith.base.name" . | quote }}
      - name: TUNESMITH_ENGINE_MAX_MODEL_LEN
        value: {{ int .base.maxModelLen | quote }}
      - name: TUNESMITH_ENGINE_MAX_LORA_RANK
        value: {{ int $engine.maxLoraRank | quote }}
      - name: HF_HUB_OFFLINE
        value: "1"
    resources:
      {{- toYaml $root.Values.weights.resources | nindent 6 }}
    securityContext:
      {{- include "tunesmith.containerSecurity" $root | nindent 6 }}
    volumeMounts:
      {{- include "tunesmith.mounts" $root | nindent 6 }}
      {{- if ne $source "pocket" }}
      {{- include "tunesmith.mounts.weights" (dict "root" $root "readOnly" true) | nindent 6 }}
      {{- end }}
volumes:
  {{- include "tunesmith.volumes" $root | nindent 2 }}
  {{- include "tunesmith.volumes.storage" $root | nindent 2 }}
  {{- if ne $source "pocket" }}
  {{- include "tunesmith.volumes.weights" (dict "root" $root "readOnly" (eq $source "volume")) | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "tunesmith.migration.podSpec" -}}
{{- if .Values.database.evaluation.enabled }}
{{- include "tunesmith.podHead" (dict "root" . "part" "migration") }}
{{- else }}
{{- /* Before the first install, the release's own accounts and ConfigMaps are not there yet. */ -}}
{{- include "tunesmith.podHead" (dict "root" . "part" "migration") | replace (printf "serviceAccountName: %s-migration" (include "tunesmith.fullname" .)) "serviceAccountName: default" }}
{{- end }}
restartPolicy: Never
containers:
  - name: migration
    image: {{ include "tunesmith.image.gateway" . }}
    imagePullPolicy: {{ .Values.images.pullPolicy }}
    command: [tunesmith, migrate]
    env:
      {{- include "tunesmith.env" . | nindent 6 }}
      {{- include "tunesmith.env.database" . | nindent 6 }}
      - name: TUNESMITH_LOG_FORMAT
        value: json
    resources:
      {{- toYaml .Values.migration.resources | nindent 6 }}
    securityContext:
      {{- include "tunesmith.containerSecurity" . | nindent 6 }}
    volumeMounts:
      {{- include "tunesmith.mounts" . | nindent 6 }}
volumes:
  {{- include "tunesmith.volumes" . | nindent 2 }}
{{- end -}}

{{/* Names, labels and images. */}}

{{- define "tunesmith.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: parts' names are appended, and a label's value holds 63. */}}
{{- define "tunesmith.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "tunesmith.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tunesmith.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a part: (dict "root" $ "part" "gateway"), "base" of a base's. */}}
{{- define "tunesmith.selector" -}}
app.kubernetes.io/name: {{ include "tunesmith.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- with .base }}
tunesmith.ai/base: {{ . }}
{{- end }}
{{- end -}}

{{- define "tunesmith.labels" -}}
{{ include "tunesmith.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: tunesmith
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Name, namespace and labels of an object: (dict "root" $ "part" "gateway" "name" "..."). */}}
{{- define "tunesmith.metadata" -}}
name: {{ .name | default (printf "%s-%s" (include "tunesmith.fullname" .root) .part) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "tunesmith.labels" . | nindent 2 }}
{{- end -}}

{{/* An image by digest where there is one: (dict "root" $ "image" ... "what" "images.gateway" "own" true). */}}
{{- define "tunesmith.image" -}}
{{- $repository := .image.repository -}}
{{- if and .own .root.Values.images.registry -}}
{{- $repository = printf "%s/%s" (.root.Values.images.registry | trimSuffix "/") $repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- if .root.Values.images.requireDigests -}}
{{- fail (printf "\n\n%s.digest is empty, and images.requireDigests is true: give the image's digest (sha256:…), as `docker buildx imagetools inspect %s:%s` prints it, or set images.requireDigests to false.\n" .what $repository (.image.tag | default .root.Chart.AppVersion)) -}}
{{- end -}}
{{- printf "%s:%s" $repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.image.gateway" -}}
{{- include "tunesmith.image" (dict "root" . "image" .Values.images.gateway "what" "images.gateway" "own" true) -}}
{{- end -}}

{{- define "tunesmith.image.backup" -}}
{{- include "tunesmith.image" (dict "root" . "image" .Values.images.backup "what" "images.backup" "own" true) -}}
{{- end -}}

{{- define "tunesmith.image.workers" -}}
{{- include "tunesmith.image" (dict "root" . "image" .Values.images.workers "what" "images.workers" "own" true) -}}
{{- end -}}

{{- define "tunesmith.image.enginePlugin" -}}
{{- include "tunesmith.image" (dict "root" . "image" .Values.images.enginePlugin "what" "images.enginePlugin" "own" true) -}}
{{- end -}}

{{- define "tunesmith.rayName" -}}
{{ include "tunesmith.fullname" . }}-ray
{{- end -}}

{{/* Secret with Ray's token: given, or the one that KubeRay names after the cluster. */}}
{{- define "tunesmith.raySecret" -}}
{{ .Values.ray.auth.existingSecret | default (include "tunesmith.rayName" .) }}
{{- end -}}

{{/* Secret that the chart itself makes, of the evaluation's database. */}}
{{- define "tunesmith.evaluationSecret" -}}
{{ include "tunesmith.fullname" . }}-evaluation
{{- end -}}

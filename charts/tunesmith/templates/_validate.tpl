{{/* Values that contradict each other, and values that nothing can run with: what is wrong, why, and
what to do. tests/charts/test_contradictions.py has a case of each. */}}
{{- define "tunesmith.validate" -}}
{{- include "tunesmith.validate.database" . -}}
{{- include "tunesmith.validate.storage" . -}}
{{- include "tunesmith.validate.backup" . -}}
{{- include "tunesmith.validate.gateway" . -}}
{{- include "tunesmith.validate.tls" . -}}
{{- include "tunesmith.validate.settings" . -}}
{{- include "tunesmith.validate.ray" . -}}
{{- include "tunesmith.validate.bases" . -}}
{{- end -}}

{{- define "tunesmith.refuse" -}}
{{- fail (printf "\n\n%s\n" .) -}}
{{- end -}}

{{- define "tunesmith.validate.database" -}}
{{- $database := .Values.database -}}
{{- $given := list -}}
{{- if $database.existingSecret }}{{ $given = append $given "database.existingSecret" }}{{ end -}}
{{- if $database.url }}{{ $given = append $given "database.url" }}{{ end -}}
{{- if $database.evaluation.enabled }}{{ $given = append $given "database.evaluation.enabled" }}{{ end -}}
{{- if not $given -}}
{{- include "tunesmith.refuse" "There is no database: put PostgreSQL's URL into a Secret (kubectl create secret generic tunesmith-database --from-literal=url='postgresql://USER:PASSWORD@HOST/NAME?sslmode=verify-full') and name it in database.existingSecret. To try the platform out, database.evaluation.enabled=true runs a PostgreSQL in the release." -}}
{{- else if gt (len $given) 1 -}}
{{- include "tunesmith.refuse" (printf "There are two databases: %s. Set one of them." (join " and " $given)) -}}
{{- end -}}
{{- $gateways := ternary (int .Values.gateway.autoscaling.max) (int .Values.gateway.replicas) .Values.gateway.autoscaling.enabled -}}
{{- if hasPrefix "sqlite" $database.url -}}
{{- include "tunesmith.refuse" (printf "database.url is SQLite (%s), which is a file of one machine: the %d gateways, the dispatcher and the evaluator are pods of their own and would each have another one. Use PostgreSQL; database.evaluation.enabled=true brings one for a trial." $database.url $gateways) -}}
{{- end -}}
{{- if regexMatch "://[^/@]*:[^/@]+@" $database.url -}}
{{- include "tunesmith.refuse" "database.url has a password in it, which everybody could read who may read the release. Put the whole URL into a Secret and name it in database.existingSecret." -}}
{{- end -}}
{{- if and $database.url (not (regexMatch "^postgres(ql)?(\\+psycopg)?://" $database.url)) -}}
{{- include "tunesmith.refuse" "database.url must begin with postgresql://." -}}
{{- end -}}
{{- if $database.evaluation.enabled -}}
{{- if or (gt $gateways 1) (gt (int .Values.dispatcher.replicas) 1) -}}
{{- include "tunesmith.refuse" (printf "database.evaluation is one pod without backup or failover, and there are %d gateways and %d dispatchers: several of them suggest an availability that this database does not have. Set gateway.replicas=1 and dispatcher.replicas=1 for a trial, or a PostgreSQL of your own by database.existingSecret." $gateways (int .Values.dispatcher.replicas)) -}}
{{- end -}}
{{- else if not .Values.adminKey.existingSecret -}}
{{- include "tunesmith.refuse" "There is no administrator's key: kubectl create secret generic tunesmith-admin --from-literal=admin-key=\"sk-$(openssl rand -hex 24)\", and name it in adminKey.existingSecret." -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.storage" -}}
{{- $storage := .Values.storage -}}
{{- if and $storage.url $storage.volume.enabled -}}
{{- include "tunesmith.refuse" (printf "Storage is both at storage.url (%s) and in storage.volume. Set one of them." $storage.url) -}}
{{- else if not (or $storage.url $storage.volume.enabled) -}}
{{- include "tunesmith.refuse" "There is no storage for files and adapters: set storage.url to s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, or storage.volume.enabled=true with a volume that all pods can mount (ReadWriteMany)." -}}
{{- end -}}
{{- if and $storage.url (not (regexMatch "^(s3|gs)://[^/]+" $storage.url)) -}}
{{- include "tunesmith.refuse" (printf "storage.url is %q: use s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; for a folder, storage.volume, which all pods mount." $storage.url) -}}
{{- end -}}
{{- if and $storage.volume.enabled (not $storage.volume.existingClaim) -}}
{{- include "tunesmith.validate.volume" (dict "name" "storage.volume" "volume" $storage.volume "who" "gateway, dispatcher, evaluator, Ray and engines") -}}
{{- end -}}
{{- if and $storage.url (not (hasPrefix "gs://" $storage.url)) $storage.gcs.existingSecret -}}
{{- include "tunesmith.refuse" (printf "storage.gcs.existingSecret is set, but storage.url is %s." $storage.url) -}}
{{- end -}}
{{- if and $storage.url (not (hasPrefix "s3://" $storage.url)) $storage.s3.existingSecret -}}
{{- include "tunesmith.refuse" (printf "storage.s3.existingSecret is set, but storage.url is %s." $storage.url) -}}
{{- end -}}
{{- if and (include "tunesmith.needsWeights" .) (not .Values.weights.existingClaim) -}}
{{- include "tunesmith.validate.volume" (dict "name" "weights" "volume" .Values.weights "who" "engines, trainers and the Jobs that pull weights") -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.backup" -}}
{{- $backup := .Values.backup -}}
{{- $storage := .Values.storage -}}
{{- if $backup.enabled -}}
{{- if .Values.database.evaluation.enabled -}}
{{- include "tunesmith.refuse" "backup.enabled, and the database is the release's own for evaluation, which is meant to be lost. Set database.existingSecret to a PostgreSQL of your own, or leave backups out." -}}
{{- end -}}
{{- if and $backup.place $backup.existingClaim -}}
{{- include "tunesmith.refuse" (printf "Backups go both to backup.place (%s) and to backup.existingClaim (%s). Set one of them." $backup.place $backup.existingClaim) -}}
{{- else if not (or $backup.place $backup.existingClaim) -}}
{{- include "tunesmith.refuse" "backup.enabled, and there is no place for backups: set backup.place to s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, or backup.existingClaim to the claim of a volume." -}}
{{- end -}}
{{- if and $backup.place (not (regexMatch "^(s3|gs)://[^/]+" $backup.place)) -}}
{{- include "tunesmith.refuse" (printf "backup.place is %q: use s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; for a volume, backup.existingClaim." $backup.place) -}}
{{- end -}}
{{- if and $backup.place $storage.url -}}
{{- $place := printf "%s/" (trimSuffix "/" $backup.place) -}}
{{- $own := printf "%s/" (trimSuffix "/" $storage.url) -}}
{{- if or (hasPrefix $own $place) (hasPrefix $place $own) -}}
{{- include "tunesmith.refuse" (printf "backup.place (%s) and the platform's own storage.url (%s) lie in each other: what deletes the one would delete the other. Choose another bucket, or a prefix beside it." $backup.place $storage.url) -}}
{{- end -}}
{{- end -}}
{{- if and $backup.existingClaim $storage.volume.enabled (eq $backup.existingClaim (include "tunesmith.storageClaim" .)) -}}
{{- include "tunesmith.refuse" (printf "backup.existingClaim is %s, the volume of the platform's own storage: a backup there is lost with what it is of. Name the claim of another volume." $backup.existingClaim) -}}
{{- end -}}
{{- $s3 := or (hasPrefix "s3://" $backup.place) (hasPrefix "s3://" $storage.url) -}}
{{- if and $backup.s3.existingSecret (not $s3) -}}
{{- include "tunesmith.refuse" "backup.s3.existingSecret is set, but neither backup.place nor storage.url is at s3://." -}}
{{- end -}}
{{- $gcs := or (hasPrefix "gs://" $backup.place) (hasPrefix "gs://" $storage.url) -}}
{{- if and $backup.gcs.existingSecret (not $gcs) -}}
{{- include "tunesmith.refuse" "backup.gcs.existingSecret is set, but neither backup.place nor storage.url is at gs://." -}}
{{- end -}}
{{- if and (hasPrefix "s3://" $storage.url) $backup.s3.endpointUrl (ne $backup.s3.endpointUrl $storage.s3.endpointUrl) -}}
{{- include "tunesmith.refuse" (printf "backup.s3.endpointUrl is %s, and storage is at %s of another S3 server: one process knows one endpoint. Let the servers replicate, or back up to gs:// or a volume." $backup.s3.endpointUrl $storage.url) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.volume" -}}
{{- if not (or (has "ReadWriteMany" .volume.accessModes) .volume.singleNode) -}}
{{- include "tunesmith.refuse" (printf "%s.accessModes is %s, so that one node alone can mount the volume, but %s use it wherever they run. Take a storage class with ReadWriteMany, or say %s.singleNode=true where all of them run on one node." .name (toJson .volume.accessModes) .who .name) -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.gateway" -}}
{{- $gateway := .Values.gateway -}}
{{- if and $gateway.ingress.enabled $gateway.httpRoute.enabled -}}
{{- include "tunesmith.refuse" "gateway.ingress and gateway.httpRoute are both enabled: two ways in, with two sets of timeouts and limits. Set one of them." -}}
{{- end -}}
{{- if $gateway.ingress.enabled -}}
{{- if not $gateway.ingress.host -}}
{{- include "tunesmith.refuse" "gateway.ingress.enabled needs gateway.ingress.host." -}}
{{- end -}}
{{- if not (or $gateway.ingress.tlsSecret $gateway.ingress.allowPlainHttp) -}}
{{- include "tunesmith.refuse" "gateway.ingress has no tlsSecret, so that keys would travel in the clear. Name a Secret with a certificate, or say gateway.ingress.allowPlainHttp=true where TLS ends before the ingress." -}}
{{- end -}}
{{- end -}}
{{- if and $gateway.httpRoute.enabled (not $gateway.httpRoute.parentRefs) -}}
{{- include "tunesmith.refuse" "gateway.httpRoute.enabled needs gateway.httpRoute.parentRefs: the Gateways that it belongs to." -}}
{{- end -}}
{{- if $gateway.autoscaling.enabled -}}
{{- if gt (int $gateway.autoscaling.min) (int $gateway.autoscaling.max) -}}
{{- include "tunesmith.refuse" (printf "gateway.autoscaling.min (%d) is above gateway.autoscaling.max (%d)." (int $gateway.autoscaling.min) (int $gateway.autoscaling.max)) -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" $gateway.resources) -}}
{{- include "tunesmith.refuse" "gateway.autoscaling goes by the share of the requested CPU, and gateway.resources.requests.cpu is not set." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.tls" -}}
{{- $internal := .Values.tls.internal -}}
{{- $secrets := list -}}
{{- if $internal.gateway.existingSecret }}{{ $secrets = append $secrets "tls.internal.gateway.existingSecret" }}{{ end -}}
{{- if $internal.engines.existingSecret }}{{ $secrets = append $secrets "tls.internal.engines.existingSecret" }}{{ end -}}
{{- if not $internal.enabled -}}
{{- $given := $secrets -}}
{{- if $internal.issuerRef.name }}{{ $given = append $given "tls.internal.issuerRef" }}{{ end -}}
{{- if $internal.transition }}{{ $given = append $given "tls.internal.transition" }}{{ end -}}
{{- if $given -}}
{{- include "tunesmith.refuse" (printf "%s is set, and tls.internal.enabled is false, so that traffic inside would be plain HTTP all the same. Set tls.internal.enabled=true, or leave it out." (join " and " $given)) -}}
{{- end -}}
{{- else -}}
{{- if and $internal.issuerRef.name $secrets -}}
{{- include "tunesmith.refuse" (printf "Certificates come both from tls.internal.issuerRef (%s) and from %s. Set one of them." $internal.issuerRef.name (join " and " $secrets)) -}}
{{- else if and (not $internal.issuerRef.name) (ne (len $secrets) 2) -}}
{{- include "tunesmith.refuse" "tls.internal.enabled needs certificates: name an issuer of cert-manager in tls.internal.issuerRef.name, or Secrets with tls.crt, tls.key and ca.crt in both tls.internal.gateway.existingSecret and tls.internal.engines.existingSecret." -}}
{{- end -}}
{{- if and (eq $internal.privateKey.algorithm "RSA") (lt (int $internal.privateKey.size) 2048) -}}
{{- include "tunesmith.refuse" (printf "tls.internal.privateKey.size is %d, which is no size of an RSA key: set it to 2048 or more." (int $internal.privateKey.size)) -}}
{{- end -}}
{{- with .Values.gateway.ingress -}}
{{- if and .enabled (eq .className "nginx") (ne (index .annotations "nginx.ingress.kubernetes.io/backend-protocol" | default "") "HTTPS") -}}
{{- include "tunesmith.refuse" "tls.internal.enabled, and nginx speaks plain HTTP to what is behind it unless it is told: set gateway.ingress.annotations.\"nginx.ingress.kubernetes.io/backend-protocol\" to HTTPS." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.settings" -}}
{{- $owners := dict
  "home" "the chart" "host" "the chart" "port" "gateway.service.port" "base" "bases" "base_name" "bases"
  "database_url" "database" "storage_url" "storage" "ray_address" "ray" "engines" "bases"
  "admin_key" "adminKey" "device" "ray.workerGroups.NAME.gpus" "trainer_resources" "bases.NAME.training.workerGroups"
  "cohorts_per_base" "ray.workerGroups.NAME.maxReplicas"
  "redis_url" "redis" "judge_key" "evaluator.judgeKey" "otlp_endpoint" "tracing.otlpEndpoint"
  "drain_seconds" "gateway.drainSeconds" "grace_seconds" "gateway.graceSeconds"
  "engine_wait_seconds" "gateway.engineWaitSeconds" "migrate" "the chart" "metrics_host" "the chart"
  "dispatcher_metrics_port" "the chart" "evaluator_metrics_port" "the chart" "log_format" "the chart"
  "tls_certificate_file" "tls.internal" "tls_key_file" "tls.internal" "engine_ca_file" "tls.internal"
  "engine_port" "the chart" "engine_max_loras" "engineDefaults.maxLoras" "engine_max_cpu_loras" "engineDefaults.maxCpuLoras"
  "engine_max_lora_rank" "engineDefaults.maxLoraRank" "engine_max_model_len" "bases.NAME.maxModelLen"
  "engine_gpu_memory" "engineDefaults.gpuMemoryUtilization" "engine_args" "engineDefaults.extraArgs" -}}
{{- range $name, $value := .Values.settings -}}
{{- if hasKey $owners $name -}}
{{- include "tunesmith.refuse" (printf "settings.%s is set by %s; leave it out of settings." $name (index $owners $name)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.settings.oidc_issuer (not .Values.settings.oidc_audience) -}}
{{- include "tunesmith.refuse" "settings.oidc_issuer needs settings.oidc_audience: without one, a token that the issuer made for any other program would open this one." -}}
{{- end -}}
{{- if and .Values.evaluator.judgeKey.existingSecret (not .Values.settings.judge_url) -}}
{{- include "tunesmith.refuse" "evaluator.judgeKey.existingSecret is the key of settings.judge_url, which is not set." -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.ray" -}}
{{- range $name, $given := .Values.ray.workerGroups -}}
{{- if $given -}}
{{- $group := mergeOverwrite (deepCopy $.Values.ray.workerGroupDefaults) (deepCopy $given) -}}
{{- if gt (int $group.minReplicas) (int $group.maxReplicas) -}}
{{- include "tunesmith.refuse" (printf "ray.workerGroups.%s.minReplicas (%d) is above its maxReplicas (%d)." $name (int $group.minReplicas) (int $group.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.ray.gcsFaultTolerance -}}
{{- if and .enabled (not .redisAddress) -}}
{{- include "tunesmith.refuse" "ray.gcsFaultTolerance.enabled needs ray.gcsFaultTolerance.redisAddress: where Ray keeps its state while the head is away." -}}
{{- end -}}
{{- end -}}
{{- end -}}

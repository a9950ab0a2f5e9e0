{{- define "tunesmith.validate.bases" -}}
{{- $keys := list -}}
{{- $names := list -}}
{{- range $key, $base := .Values.bases -}}
{{- if $base -}}
{{- $keys = append $keys $key -}}
{{- $name := include "tunesmith.base.name" (dict "key" $key "base" $base) -}}
{{- if has $name $names -}}
{{- include "tunesmith.refuse" (printf "Two bases are named %q in the API: give each its own bases.NAME.name." $name) -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- if gt (add (len $key) (len (include "tunesmith.fullname" $))) 47 -}}
{{- include "tunesmith.refuse" (printf "The base's key %q and the release's name %q together have more than 47 characters, and names of Services and Jobs that are made of them would be too long. Shorten the key: bases.NAME.name is what the API shows." $key (include "tunesmith.fullname" $)) -}}
{{- end -}}
{{- $engine := mergeOverwrite (deepCopy $.Values.engineDefaults) (deepCopy ($base.engine | default dict)) -}}
{{- $of := dict "root" $ "key" $key "base" $base "engine" $engine -}}
{{- include "tunesmith.validate.model" $of -}}
{{- include "tunesmith.validate.engine" $of -}}
{{- include "tunesmith.validate.memory" $of -}}
{{- include "tunesmith.validate.training" $of -}}
{{- end -}}
{{- end -}}
{{- if not $keys -}}
{{- include "tunesmith.refuse" "There is no base: give bases at least one, for a trial bases.pocket={name: tunesmith-pocket, model: {source: pocket}, maxModelLen: 1024}." -}}
{{- end -}}
{{- if and .Values.smokeTest.base (not (has .Values.smokeTest.base $names)) -}}
{{- include "tunesmith.refuse" (printf "smokeTest.base is %q, and the bases are %s." .Values.smokeTest.base (join ", " $names)) -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.model" -}}
{{- $model := .base.model -}}
{{- if and (eq $model.source "hub") (not $model.id) -}}
{{- include "tunesmith.refuse" (printf "bases.%s.model.source is hub, and bases.%s.model.id names no repository of the hub." .key .key) -}}
{{- end -}}
{{- if and (eq $model.source "s3") (not (hasPrefix "s3://" ($model.uri | default ""))) -}}
{{- include "tunesmith.refuse" (printf "bases.%s.model.source is s3, and bases.%s.model.uri is no s3://BUCKET/PREFIX." .key .key) -}}
{{- end -}}
{{- if and (eq $model.source "volume") (not .root.Values.weights.existingClaim) -}}
{{- include "tunesmith.refuse" (printf "bases.%s.model.source is volume, but weights.existingClaim is empty: nothing would ever put the files into the claim that the chart makes. Name the claim that has them, or take them from hub or s3." .key) -}}
{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.engine" -}}
{{- $engine := .engine -}}
{{- $at := printf "bases.%s.engine" .key -}}
{{- if lt (int $engine.maxCpuLoras) (int $engine.maxLoras) -}}
{{- include "tunesmith.refuse" (printf "%s.maxCpuLoras (%d) is below maxLoras (%d): vLLM holds every adapter of a batch in host memory too." $at (int $engine.maxCpuLoras) (int $engine.maxLoras)) -}}
{{- end -}}
{{- if and (eq $engine.device "gpu") (lt (int $engine.gpus) 1) -}}
{{- include "tunesmith.refuse" (printf "%s.device is gpu and gpus is %d: give it at least one GPU, or set device to cpu." $at (int $engine.gpus)) -}}
{{- end -}}
{{- $scaling := $engine.autoscaling -}}
{{- if ne $scaling.kind "none" -}}
{{- if gt (int $scaling.min) (int $scaling.max) -}}
{{- include "tunesmith.refuse" (printf "%s.autoscaling.min (%d) is above its max (%d)." $at (int $scaling.min) (int $scaling.max)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (int $scaling.min) 0) (ne $scaling.kind "keda") -}}
{{- include "tunesmith.refuse" (printf "%s.autoscaling.min is 0 and its kind is %s: only KEDA starts the first engine again. Set kind to keda, or min to 1." $at $scaling.kind) -}}
{{- end -}}
{{- if and (eq $scaling.kind "none") (lt (int $engine.replicas) 1) -}}
{{- include "tunesmith.refuse" (printf "%s.replicas is 0, so that nothing would serve the base. Set it to 1, or let KEDA start engines when requests come (autoscaling: {kind: keda, min: 0})." $at) -}}
{{- end -}}
{{- if and (eq $scaling.kind "keda") (not $scaling.prometheusUrl) -}}
{{- include "tunesmith.refuse" (printf "%s.autoscaling.kind is keda, which asks Prometheus how many requests wait: set autoscaling.prometheusUrl." $at) -}}
{{- end -}}
{{- if and (eq $scaling.kind "hpa") (not $scaling.metricName) -}}
{{- include "tunesmith.refuse" (printf "%s.autoscaling.kind is hpa, and metricName, the external metric that it goes by, is empty." $at) -}}
{{- end -}}
{{- range $engine.extraArgs -}}
{{- $flag := regexFind "^--[a-z-]+" . -}}
{{- if has $flag (list "--model" "--served-model-name" "--host" "--port" "--max-model-len" "--enable-lora" "--max-loras" "--max-cpu-loras" "--max-lora-rank" "--tensor-parallel-size" "--gpu-memory-utilization" "--shutdown-timeout" "--chat-template-content-format" "--lora-modules" "--ssl-certfile" "--ssl-keyfile" "--enable-ssl-refresh") -}}
{{- include "tunesmith.refuse" (printf "%s.extraArgs has %s, which the chart sets itself%s." $at $flag (ternary ": tls.internal" " from the base's values" (contains "ssl" $flag))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Bytes, estimated from the model's shape:
  weights  = parameters × bytesPerParameter / GPUs
  adapter  = 2 bytes × rank × layers × (9 × hidden + 2 × kv + 3 × intermediate),
             the sum of fan-in and fan-out of q, k, v, o, gate, up and down
and vLLM keeps maxLoras of them on each GPU, maxCpuLoras in host memory. An adapter of fewer modules is
smaller; what is allocated is not, where a base has all of these. */}}
{{- define "tunesmith.adapterBytes" -}}
{{- $model := .base.model -}}
{{- if and $model.hiddenSize $model.layers -}}
{{- $hidden := int64 $model.hiddenSize -}}
{{- $kv := int64 ($model.kvSize | default $hidden) -}}
{{- $intermediate := int64 ($model.intermediateSize | default (mul 4 $hidden)) -}}
{{- mul 2 (int64 .engine.maxLoraRank) (int64 $model.layers) (add (mul 9 $hidden) (mul 2 $kv) (mul 3 $intermediate)) -}}
{{- else -}}0{{- end -}}
{{- end -}}

{{- define "tunesmith.validate.memory" -}}
{{- $gib := 1073741824.0 -}}
{{- $adapter := divf (float64 (include "tunesmith.adapterBytes" . | int64)) $gib -}}
{{- $weights := divf (mulf (float64 (.base.model.parametersBillion | default 0)) 1000000000.0 (float64 (.base.model.bytesPerParameter | default 2))) $gib -}}
{{- $engine := .engine -}}
{{- $at := printf "bases.%s.engine" .key -}}
{{- if and (eq $engine.device "gpu") (gt (float64 $engine.gpuMemoryGiB) 0.0) -}}
{{- $share := divf $weights (float64 (int $engine.gpus)) -}}
{{- $onGpu := mulf $adapter (float64 (int $engine.maxLoras)) -}}
{{- $room := mulf (float64 $engine.gpuMemoryGiB) (float64 $engine.gpuMemoryUtilization) -}}
{{- if gt (addf $share $onGpu) $room -}}
{{- include "tunesmith.refuse" (printf "%s does not fit its GPUs: maxLoras %d × %.2f GiB an adapter of rank %d, and %.1f GiB of weights on each of %d GPUs, are %.1f GiB, more than the %.1f GiB that gpuMemoryUtilization %.2f leaves of %.0f GiB, and nothing is left for the KV cache. Lower maxLoras or maxLoraRank, or take more or larger GPUs." $at (int $engine.maxLoras) $adapter (int $engine.maxLoraRank) $share (int $engine.gpus) (addf $share $onGpu) $room (float64 $engine.gpuMemoryUtilization) (float64 $engine.gpuMemoryGiB)) -}}
{{- end -}}
{{- end -}}
{{- $limit := include "tunesmith.gib" (dig "limits" "memory" "" $engine.resources) | float64 -}}
{{- $inHost := mulf $adapter (float64 (int $engine.maxCpuLoras)) -}}
{{- if and (gt $limit 0.0) (gt $inHost $limit) -}}
{{- include "tunesmith.refuse" (printf "%s.maxCpuLoras %d × %.2f GiB an adapter of rank %d are %.1f GiB, more than the container's memory (resources.limits.memory %.1f GiB). Lower maxCpuLoras, or give it more." $at (int $engine.maxCpuLoras) $adapter (int $engine.maxLoraRank) $inHost $limit) -}}
{{- end -}}
{{- end -}}

{{/* A Kubernetes quantity of memory in GiB; 0 where it has none of the usual forms. */}}
{{- define "tunesmith.gib" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+" $text | default "0" | float64 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $bytes := dict "" 1.0 "k" 1000.0 "M" 1000000.0 "G" 1000000000.0 "T" 1000000000000.0 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- divf (mulf $number (index $bytes $unit | default 0.0)) 1073741824.0 -}}
{{- end -}}

{{/* Some group of workers must be able to hold the base: it may grow above zero, has GPUs where any
group has, and enough memory for the weights where both are known. */}}
{{- define "tunesmith.validate.training" -}}
{{- $root := .root -}}
{{- $at := printf "bases.%s" .key -}}
{{- $wanted := dig "training" "workerGroups" (list) .base -}}
{{- $groups := $root.Values.ray.workerGroups | default dict -}}
{{- range $wanted -}}
{{- if not (index $groups .) -}}
{{- include "tunesmith.refuse" (printf "%s.training.workerGroups names %q, and ray.workerGroups has %s." $at . (keys $groups | sortAlpha | join ", " | default "none")) -}}
{{- end -}}
{{- end -}}
{{- $cuda := eq (include "tunesmith.ray.device" $root) "cuda" -}}
{{- $weights := divf (mulf (float64 (.base.model.parametersBillion | default 0)) 1000000000.0 (float64 (.base.model.bytesPerParameter | default 2))) 1073741824.0 -}}
{{- $fit := list -}}
{{- $unfit := list -}}
{{- range $name, $given := $groups -}}
{{- if and $given (or (not $wanted) (has $name $wanted)) -}}
{{- $group := mergeOverwrite (deepCopy $root.Values.ray.workerGroupDefaults) (deepCopy $given) -}}
{{- if eq (int $group.maxReplicas) 0 -}}
{{- $unfit = append $unfit (printf "%s has maxReplicas 0" $name) -}}
{{- else if and $cuda (eq (int $group.gpus) 0) -}}
{{- $unfit = append $unfit (printf "%s has no GPU, and trainers use GPUs where any group has them" $name) -}}
{{- else if and (gt (float64 $group.gpuMemoryGiB) 0.0) (gt (int $group.gpus) 0) (gt $weights (float64 $group.gpuMemoryGiB)) -}}
{{- $unfit = append $unfit (printf "%s has GPUs of %.0f GiB, and the weights alone take %.1f GiB" $name (float64 $group.gpuMemoryGiB) $weights) -}}
{{- else -}}
{{- $fit = append $fit $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $fit -}}
{{- include "tunesmith.refuse" (printf "No worker group can train the base %q (%s): %s. Its jobs would wait for ever: add a group to ray.workerGroups." .key $at ($unfit | join "; " | default "ray.workerGroups is empty")) -}}
{{- end -}}
{{- $small := list -}}
{{- range $unfit -}}{{- if contains "GiB" . -}}{{- $small = append $small . -}}{{- end -}}{{- end -}}
{{- if and $small (not $wanted) -}}
{{- include "tunesmith.refuse" (printf "Some worker groups cannot train the base %q: %s. Ray could send its trainer there: bind it with %s.training.workerGroups: [%s]." .key (join "; " $small) $at (join ", " $fit)) -}}
{{- end -}}
{{- end -}}

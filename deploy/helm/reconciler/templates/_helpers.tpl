{{- define "reconciler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "reconciler.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "reconciler.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "reconciler.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "reconciler.selector" -}}
app.kubernetes.io/name: {{ include "reconciler.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "reconciler.labels" -}}
{{ include "reconciler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "reconciler.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "reconciler.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "reconciler.image" -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default .appVersion) -}}
{{- end -}}
{{- end -}}

{{- /* The namespaces that are watched, as a list in JSON; empty for all. */ -}}
{{- define "reconciler.namespaces" -}}
{{- if .Values.watch.allNamespaces -}}
{{- if .Values.watch.namespaces -}}
{{- fail "watch.namespaces has no effect with watch.allNamespaces: remove one of them" -}}
{{- end -}}
[]
{{- else -}}
{{- .Values.watch.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end -}}
{{- end -}}

{{- /* What the operator may do in each namespace that it watches. */ -}}
{{- define "reconciler.rules" -}}
- apiGroups: [reconciler.dev]
  resources: [stacks]
  # patch: the finalizer, and an approval that was used.
  verbs: [get, list, watch, patch]
- apiGroups: [reconciler.dev]
  resources: [organizations]
  verbs: [list, watch]
- apiGroups: [reconciler.dev]
  resources: [stacks/status, organizations/status]
  verbs: [patch]
- apiGroups: [""]
  # Sources of Stacks. Only those with the label reconciler.dev/source are asked for.
  resources: [configmaps]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- with .Values.secrets.keys }}
- apiGroups: [""]
  resources: [secrets]
  {{- include "reconciler.resourceNames" . }}
  verbs: [get]
{{- end }}
{{- with .Values.secrets.delivered }}
- apiGroups: [""]
  resources: [secrets]
  {{- include "reconciler.resourceNames" . }}
  verbs: [get, create, patch, delete]
{{- end }}
{{- end -}}

{{- define "reconciler.resourceNames" -}}
{{- if not (has "*" .) }}
  resourceNames: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "reconciler.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "reconciler.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "reconciler.env" -}}
- name: RECONCILER_BACKEND
  valueFrom:
    secretKeyRef:
      name: {{ required "backend.existingSecret is needed: the state has to outlive the Pod" .Values.backend.existingSecret }}
      key: {{ .Values.backend.key }}
{{- if .Values.ageIdentity.existingSecret }}
- name: RECONCILER_AGE_IDENTITY
  value: /etc/reconciler/age/{{ .Values.ageIdentity.key }}
{{- end }}
{{- if .Values.notices.existingSecret }}
- name: RECONCILER_NOTICE_URLS
  valueFrom: {secretKeyRef: {name: {{ .Values.notices.existingSecret }}, key: {{ .Values.notices.key }}}}
{{- end }}
# The root file system is read-only.
- name: HOME
  value: /tmp
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "reconciler.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
- name: sources
  mountPath: /sources
  readOnly: true
{{- if .Values.ageIdentity.existingSecret }}
- name: age-identity
  mountPath: /etc/reconciler/age
  readOnly: true
{{- end }}
{{- if .Values.backend.ca.existingSecret }}
- name: backend-ca
  mountPath: /etc/reconciler/backend-ca
  readOnly: true
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "reconciler.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
- name: sources
  {{- if .Values.sources.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.sources.existingClaim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.sources.sizeLimit }}}
  {{- end }}
{{- if .Values.ageIdentity.existingSecret }}
- name: age-identity
  secret:
    secretName: {{ .Values.ageIdentity.existingSecret }}
    defaultMode: 0400
    items: [{key: {{ .Values.ageIdentity.key }}, path: {{ .Values.ageIdentity.key }}}]
{{- end }}
{{- if .Values.backend.ca.existingSecret }}
- name: backend-ca
  secret:
    secretName: {{ .Values.backend.ca.existingSecret }}
    items: [{key: {{ .Values.backend.ca.key }}, path: ca.crt}]
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "reconciler.gitVolumes" -}}
{{- range .Values.sources.gitSync }}
- name: git-tmp-{{ .name }}
  emptyDir: {sizeLimit: 100Mi}
{{- if .existingSecret }}
- name: git-{{ .name }}
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0400
{{- end }}
{{- end }}
{{- end -}}

{{- /*
A container that checks a repository out: `root`, `repository`, `port`, and `once` for one that ends.
Its user is the one that the image knows, as ssh requires; its group is that of the volumes.
*/ -}}
{{- define "reconciler.gitSync" -}}
{{- $image := .root.Values.sources.gitSyncImage -}}
{{- $isSsh := not (hasPrefix "https://" .repository.repo) -}}
{{- if and $isSsh (not .repository.existingSecret) -}}
{{- fail (printf "sources.gitSync %s: ssh needs existingSecret, with ssh-privatekey and known_hosts" .repository.name) -}}
{{- end -}}
- name: git-sync-{{ .repository.name }}
  image: {{ include "reconciler.image" $image }}
  imagePullPolicy: {{ $image.pullPolicy }}
  args:
    - --repo={{ .repository.repo }}
    - --ref={{ .repository.ref | default "HEAD" }}
    - --root=/sources/{{ .repository.name }}
    - --link=current
    - --depth=1
    {{- if .once }}
    - --one-time
    {{- else }}
    - --period={{ .repository.period | default "60s" }}
    - --max-failures=-1
    - --http-bind=:{{ .port }}
    {{- end }}
    {{- if .repository.existingSecret }}
    {{- if $isSsh }}
    - --ssh-key-file=/etc/git/ssh-privatekey
    - --ssh-known-hosts-file=/etc/git/known_hosts
    {{- else }}
    - --password-file=/etc/git/password
    {{- end }}
    {{- end }}
  env:
    - name: HOME
      value: /tmp
    {{- if and .repository.existingSecret (not $isSsh) }}
    - name: GITSYNC_USERNAME
      valueFrom: {secretKeyRef: {name: {{ .repository.existingSecret }}, key: username}}
    {{- end }}
  {{- if not .once }}
  # A sidecar: the operator starts once the repository is there.
  restartPolicy: Always
  ports:
    - name: git-{{ .index }}
      containerPort: {{ .port }}
  startupProbe:
    httpGet: {path: /, port: git-{{ .index }}}
    periodSeconds: 2
    failureThreshold: 150
  {{- end }}
  securityContext:
    runAsUser: 65533
    runAsGroup: 10001
    {{- include "reconciler.securityContext" .root | nindent 4 }}
  resources:
    {{- toYaml .root.Values.sources.gitSyncResources | nindent 4 }}
  volumeMounts:
    - name: sources
      mountPath: /sources
    - name: git-tmp-{{ .repository.name }}
      mountPath: /tmp
    {{- if .repository.existingSecret }}
    - name: git-{{ .repository.name }}
      mountPath: /etc/git
      readOnly: true
    {{- end }}
{{- end -}}

{{/* Prefix of all names: the release's. */}}
{{- define "coclr.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- end -}}

{{- define "coclr.operator" -}}{{ include "coclr.fullname" . }}-operator{{- end -}}
{{- define "coclr.dashboard" -}}{{ include "coclr.fullname" . }}-dashboard{{- end -}}

{{/* Labels of every object; a component is given as (dict "root" . "component" "operator"). */}}
{{- define "coclr.labels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: coclr-platform
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "coclr.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* metadata of an object: (dict "root" . "name" n "component" c "annotations" map). */}}
{{- define "coclr.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "coclr.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* An image: (dict "root" . "image" map). A tag is always there: the chart's appVersion is the default. */}}
{{- define "coclr.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.imageRegistry -}}
{{- if not (contains "/" $repository) -}}{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}{{- end -}}
{{- end -}}
{{- if .image.digest -}}
{{ $repository }}@{{ .image.digest }}
{{- else -}}
{{ $repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{- define "coclr.operator.serviceAccount" -}}
{{- if .Values.operator.serviceAccount.create -}}{{ default (include "coclr.operator" .) .Values.operator.serviceAccount.name }}{{- else -}}{{ default "default" .Values.operator.serviceAccount.name }}{{- end -}}
{{- end -}}
{{- define "coclr.dashboard.serviceAccount" -}}
{{- if .Values.dashboard.serviceAccount.create -}}{{ default (include "coclr.dashboard" .) .Values.dashboard.serviceAccount.name }}{{- else -}}{{ default "default" .Values.dashboard.serviceAccount.name }}{{- end -}}
{{- end -}}

{{- define "coclr.progress.secret" -}}
{{- default (printf "%s-progress-tls" (include "coclr.operator" .)) .Values.operator.progress.tlsSecretName -}}
{{- end -}}
{{- define "coclr.dashboard.secret" -}}
{{- default (include "coclr.dashboard" .) .Values.dashboard.auth.existingSecret -}}
{{- end -}}

{{/* Not empty when the operator makes the certificate of its progress endpoint itself. */}}
{{- define "coclr.progress.own" -}}
{{- if and .Values.operator.progress.enabled (not .Values.operator.progress.tlsSecretName) (not .Values.operator.progress.certManager.issuerRef.name) -}}yes{{- end -}}
{{- end -}}
{{/* Not empty when the operator makes the dashboard's token. */}}
{{- define "coclr.dashboard.ownToken" -}}
{{- if and .Values.dashboard.enabled (eq .Values.dashboard.auth.mode "Token") (not .Values.dashboard.auth.existingSecret) -}}yes{{- end -}}
{{- end -}}

{{/* Where people reach the dashboard. */}}
{{- define "coclr.dashboard.url" -}}
{{- if .Values.dashboard.url -}}{{ .Values.dashboard.url }}
{{- else if and .Values.dashboard.ingress.enabled .Values.dashboard.ingress.host -}}
{{ ternary "https" "http" (ne .Values.dashboard.ingress.tlsSecretName "") }}://{{ .Values.dashboard.ingress.host }}{{ trimSuffix "/" .Values.dashboard.ingress.path }}
{{- else if and .Values.dashboard.httpRoute.enabled .Values.dashboard.httpRoute.hostnames -}}
https://{{ first .Values.dashboard.httpRoute.hostnames }}
{{- end -}}
{{- end -}}

{{/* The hardening that Pod Security `restricted` asks for, and a read-only root. */}}
{{- define "coclr.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}
{{- define "coclr.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What the operator does in a namespace. docs/operator.md gives the reason of every line. */}}
{{- define "coclr.operator.rules" -}}
- apiGroups: [coclr.dev]
  resources: [coclrexperiments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [coclr.dev]
  resources: [coclrbenchmarks]
  verbs: [list, watch]
- apiGroups: [coclr.dev]
  resources: [coclrexperiments/status, coclrbenchmarks/status]
  verbs: [patch]
- apiGroups: [coclr.dev]
  # blockOwnerDeletion on children asks for this where OwnerReferencesPermissionEnforcement is on (OpenShift).
  resources: [coclrexperiments/finalizers, coclrbenchmarks/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  # Deleted only to replace a stage that hangs (stallDeadlineSeconds).
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch, create]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, watch]
{{- end -}}

{{/* What the dashboard does in a namespace: show, suspend, resume and delete experiments. */}}
{{- define "coclr.dashboard.rules" -}}
- apiGroups: [coclr.dev]
  resources: [coclrexperiments]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [coclr.dev]
  resources: [coclrbenchmarks]
  verbs: [list, watch]
- apiGroups: [""]
  # One pod is read to know whose token has come.
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
{{- end -}}

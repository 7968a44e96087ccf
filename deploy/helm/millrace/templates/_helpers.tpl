{{- define "millrace.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "millrace.labels" -}}
app.kubernetes.io/name: millrace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "millrace.metadata" -}}
labels:
  {{- include "millrace.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "millrace.image" -}}
image: "{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- /* A Service's variables would be taken for settings, and nobody here talks to Kubernetes. */}}
{{- define "millrace.pod" -}}
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* One of a kind on each node, where there are enough. */}}
{{- define "millrace.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "millrace.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Each lookupd by its own name: every qd registers with all of them. */}}
{{- define "millrace.lookupds" -}}
{{- $name := include "millrace.name" .root }}
{{- range $i := until (int .root.Values.lookupd.replicas) }}
- --{{ $.flag }}={{ $name }}-lookupd-{{ $i }}.{{ $name }}-lookupd:{{ $.port }}
{{- end }}
{{- end }}

{{- /* What a daemon is told of rules and of its certificate; https is its port. */}}
{{- define "millrace.guarded" -}}
{{- if .root.Values.access.secret }}
- --access-file=/etc/access/access.toml
{{- end }}
{{- if .root.Values.tls.secret }}
- --tls-cert=/etc/tls/tls.crt
- --tls-key=/etc/tls/tls.key
- --https-address=0.0.0.0:{{ .https }}
{{- if .root.Values.tls.required }}
- --tls-required=tcp-https
{{- end }}
{{- end }}
{{- end }}

{{- define "millrace.guardedMounts" -}}
{{- if .Values.access.secret }}
- { name: access, mountPath: /etc/access, readOnly: true }
{{- end }}
{{- if .Values.tls.secret }}
- { name: tls, mountPath: /etc/tls, readOnly: true }
{{- end }}
{{- end }}

{{- /* files are those of the access Secret that it needs, for each has its own token. */}}
{{- define "millrace.guardedVolumes" -}}
{{- if .root.Values.access.secret }}
- name: access
  secret:
    secretName: {{ .root.Values.access.secret }}
    defaultMode: 0440
    items:
      {{- range .files }}
      - { key: {{ . }}, path: {{ . }} }
      {{- end }}
{{- end }}
{{- if .root.Values.tls.secret }}
- { name: tls, secret: { secretName: {{ .root.Values.tls.secret }}, defaultMode: 0440 } }
{{- end }}
{{- end }}

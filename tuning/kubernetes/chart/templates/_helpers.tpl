{{- define "percoredns.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "percoredns.labels" -}}
app.kubernetes.io/name: percoredns
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "percoredns.seccomp" -}}
seccompProfile:
{{- if .Values.seccompProfile }}
  type: Localhost
  localhostProfile: {{ .Values.seccompProfile }}
{{- else }}
  type: RuntimeDefault
{{- end }}
{{- end }}

{{- define "percoredns.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: [NET_BIND_SERVICE]
{{- end }}

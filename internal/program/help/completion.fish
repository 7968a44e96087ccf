# Completion of {{.Name}} for fish, as "{{.Name}} --completion fish" prints it.
complete -c {{.Name}} -f
{{- $name := .Name}}
{{- range .Flags}}
complete -c {{$name}} {{template "flag" .}}
{{- end}}
{{- range .Commands}}
complete -c {{$name}} -n __fish_use_subcommand -a {{command .}} -d '{{fish (brief .Synopsis)}}'
{{- $c := command .}}
{{- range .Flags}}
complete -c {{$name}} -n '__fish_seen_subcommand_from {{$c}}' {{template "flag" .}}
{{- end}}
{{- end}}
{{define "flag"}}-l {{.Name}}
{{- if .Bare}}{{with .Choices}} -f -a '{{join . " "}}'{{end}}
{{- else if .Choices}} -x -a '{{join .Choices " "}}'
{{- else if eq .Paths "directory"}} -x -a '(__fish_complete_directories)'
{{- else if .Paths}} -r -F
{{- else if .Kind}} -x
{{- end}} -d '{{fish (brief .Text)}}'
{{- end}}

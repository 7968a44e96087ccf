{{- define "arguments"}}_arguments{{range .Flags}} \
        '{{if .Repeats}}*{{end}}--{{.Name}}{{if .Bare}}{{if .Choices}}=-{{end}}{{else}}={{end}}[{{zsh (brief .Text)}}]
{{- if and .Bare .Choices}}::value:({{join .Choices " "}}){{else if .Kind}}:{{zsh .Kind}}:{{if .Choices}}({{join .Choices " "}}){{else if eq .Paths "directory"}}_files -/{{else if .Paths}}_files{{else}} {{end}}{{end}}'
{{- end}}
{{end -}}
#compdef {{.Name}}
# Completion of {{.Name}} for zsh, as "{{.Name}} --completion zsh" prints it.
_{{.Name}}() {
{{- if .Commands}}
    if (( CURRENT == 2 )); then
        local -a commands=({{range .Commands}}
            '{{command .}}:{{zsh (brief .Synopsis)}}'{{end}}
        )
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{{- range .Commands}}
    {{command .}}) {{template "arguments" .}}        ;;
{{- end}}
    esac
{{- else}}
    {{template "arguments" .}}
{{- end}}
}
# Loaded at the first completion it is a function's body, otherwise it is sourced.
if [[ "$funcstack[1]" == _{{.Name}} ]]; then
    _{{.Name}} "$@"
else
    compdef _{{.Name}} {{.Name}}
fi

{{- define "values"}}{{range .Flags}}{{if and .Bare .Choices}}    [[ $equals || $flag != --{{.Name}} ]] || flag=
{{end}}{{end}}    case $flag in
{{- range .Flags}}
{{- if .Choices}}
    --{{.Name}}) kind=words values='{{join .Choices " "}}' ;;
{{- else if .Paths}}
    --{{.Name}}) kind={{.Paths}} ;;
{{- end}}
{{- end}}
{{- with .Opaque}}
    {{join . "|"}}) kind= ;;
{{- end}}
    *) [[ $equals ]] && kind=
        values='{{join .Names " "}}' ;;
    esac
{{end -}}
# Completion of {{.Name}} for bash, as "{{.Name}} --completion bash" prints it.
{{function .Name}}() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} equals= start= kind=words values= line
    # --flag=value is three words, or one where = does not divide words.
    if [[ $cur == = ]]; then
        equals=1 cur=
    elif [[ $flag == = ]]; then
        equals=1 flag=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $cur == -*=* ]]; then
        equals=1 flag=${cur%%=*} start=${cur%%=*}= cur=${cur#*=}
    fi
    # One dash is as good as two.
    [[ $flag == --* ]] || flag=-$flag
    [[ $cur == -[!-]* ]] && cur=-$cur
{{if .Commands}}    if [[ $COMP_CWORD -eq 1 ]]; then
        values='{{range $i, $c := .Commands}}{{if $i}} {{end}}{{command $c}}{{end}} --help --version'
    else case ${COMP_WORDS[1]} in
{{- range .Commands}}
    {{command .}})
{{template "values" .}}    ;;
{{- end}}
    esac fi
{{else}}{{template "values" .}}{{end}}    COMPREPLY=()
    case $kind in
    words) while IFS= read -r line; do COMPREPLY+=("$start$line"); done < <(compgen -W "$values" -- "$cur") ;;
    file|directory)
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$start$line"); done < <(compgen -A "$kind" -- "$cur") ;;
    esac
}
complete -F {{function .Name}} {{.Name}}

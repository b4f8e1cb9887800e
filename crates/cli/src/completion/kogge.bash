# Completion of kogge for bash: source <(kogge completion bash)
_kogge() {
    local text=${COMP_LINE:0:COMP_POINT} current=${COMP_WORDS[COMP_CWORD]} line
    local -a words lines=()
    read -ra words <<<"$text"
    # Behind a blank the next word begins.
    if [[ $text == *[[:space:]] ]]; then
        words+=("")
    fi
    local word=${words[${#words[@]} - 1]} program=${words[0]}
    # It may be called by an alias.
    type -P "$program" >/dev/null || program=kogge
    while IFS= read -r line; do
        lines+=("$line")
    done < <("$program" __completeNoDesc "${words[@]:1}" 2>/dev/null)

    # Bash begins a word behind each colon and equals sign, and replaces only that part.
    local front=$word
    if [[ $current != [:=] ]]; then
        front=${word%"$current"}
    fi
    COMPREPLY=()
    for line in "${lines[@]}"; do
        case $line in
        :4) compopt +o default 2>/dev/null ;;
        :0) ;;
        *) COMPREPLY+=("${line#"$front"}") ;;
        esac
    done
}
complete -o default -F _kogge kogge

#compdef kogge
# Completion of kogge for zsh: source <(kogge completion zsh), or as the file _kogge in a folder of fpath
_kogge() {
    local -a lines proposals
    local line name
    lines=("${(@f)$(${(Q)words[1]} __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${(@)lines[1,-2]}"; do
        name=${line%%$'\t'*}
        proposals+=("${name//:/\\:}:${line#*$'\t'}")
    done
    (( $#proposals )) && _describe -t kogge kogge proposals
    [[ $lines[-1] == :0 ]] && _files
}
if [[ $funcstack[1] == _kogge ]]; then
    _kogge "$@"
else
    compdef _kogge kogge
fi

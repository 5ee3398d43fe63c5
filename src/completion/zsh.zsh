#compdef oc-netobserv kubectl-netobserv
# Completion of oc-netobserv and kubectl-netobserv in zsh: the program itself knows what fits.
_oc_netobserv() {
    local -a found
    local directive
    found=("${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    directive=$found[-1]
    found=("${(@)found[1,-2]}")
    if (( ! $#found )); then
        # A path, also behind "--output-dir=".
        compset -P '*='
        _files
    elif [[ $directive == :6 ]]; then
        compadd -S '' -- "${found[@]}"
    else
        compadd -- "${found[@]}"
    fi
}
if [[ $funcstack[1] == _oc-netobserv ]]; then
    _oc_netobserv "$@"
else
    compdef _oc_netobserv oc-netobserv kubectl-netobserv
fi

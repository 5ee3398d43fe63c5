# Completion of oc-netobserv and kubectl-netobserv in bash: the program itself knows what fits.
# shellcheck shell=bash
_oc_netobserv() {
    local line=${COMP_LINE:0:COMP_POINT} words directive
    read -ra words <<<"$line"
    # Behind a space a new word begins.
    if [[ $line == *[[:space:]] ]]; then words+=(""); fi
    mapfile -t COMPREPLY < <("$1" __complete "${words[@]:1}" 2>/dev/null)
    if ((${#COMPREPLY[@]} == 0)); then return; fi
    directive=${COMPREPLY[-1]}
    unset 'COMPREPLY[-1]'
    if [[ $directive == :6 ]]; then compopt -o nospace 2>/dev/null; fi
    # For bash "--name=value" is three words, and the last one is what it replaces.
    if [[ ${words[-1]} == *=* && $COMP_WORDBREAKS == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#*=}"); fi
}
complete -o bashdefault -o default -F _oc_netobserv oc-netobserv kubectl-netobserv

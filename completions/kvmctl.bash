# bash completion for kvmctl

_kvmctl() {
    local IFS=$' \t\n' type value suffix
    COMPREPLY=()
    while IFS=$'\t' read -r type value; do
        case $type in
            plain) printf -v value %q "$value"; COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            file)
                compopt -o filenames 2>/dev/null
                while read -r; do COMPREPLY+=("$REPLY"); done < <(
                    for suffix in $value; do compgen -f -X "!*$suffix" -- "$2"; done
                    [[ $value ]] && compgen -d -- "$2"
                )
                [[ ${COMPREPLY[*]} ]] || compopt -o default 2>/dev/null
                ;;
        esac
    done < <(_KVMCTL_COMPLETE=bash_complete _KVMCTL_BREAKS=$COMP_WORDBREAKS _KVMCTL_LINE=${COMP_LINE:0:COMP_POINT} \
        "${1/#\~/$HOME}" 2>/dev/null)
}

complete -o nosort -F _kvmctl kvmctl 2>/dev/null || complete -F _kvmctl kvmctl

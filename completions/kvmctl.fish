# fish completion for kvmctl

function __kvmctl_complete
    set -l line (commandline -cp | string collect)
    for answer in (env _KVMCTL_COMPLETE=fish_complete _KVMCTL_LINE="$line" kvmctl 2>/dev/null)
        set -l parts (string split -m 2 \t -- $answer)
        switch $parts[1]
            case plain
                printf '%s\t%s\n' $parts[2] "$parts[3]"
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                set -l found (__fish_complete_path (commandline -ct))
                set -l suffixes (string replace --all . '\\.' -- $parts[2] | string replace --all ' ' '|')
                set -l fitting (string match --regex ".*(?:/|$suffixes)(?:\t.*)?\$" -- $found)
                if test -n "$fitting"
                    printf '%s\n' $fitting
                else
                    printf '%s\n' $found
                end
        end
    end
end

complete --command kvmctl --no-files --keep-order --arguments '(__kvmctl_complete)'

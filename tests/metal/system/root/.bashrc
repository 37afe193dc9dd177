PS1='metal:\w# '
export LANG=C.UTF-8
. /usr/share/bash-completion/bash_completion
. /opt/kvmctl/completions/kvmctl.bash

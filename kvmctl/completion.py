"""Completion in bash, zsh and fish: the script each shell loads, and the answer that script asks for.

On every TAB the script calls kvmctl with two variables: `_KVMCTL_COMPLETE=SHELL_complete`, and `_KVMCTL_LINE`, the
command line up to the cursor. The answer is one candidate per line, tab-separated: "plain VALUE HELP",
"file SUFFIXES" or "dir". Click finds what is being completed. These scripts replace Click's own, which take
`-H test:///default` for three words in bash, and cannot ask for files of one kind.

Whatever goes wrong gives no candidates: nobody can read an error in the middle of a line.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import click

    from kvmctl.app import App

REQUEST = "_KVMCTL_COMPLETE"
LINE = "_KVMCTL_LINE"
BREAKS = "_KVMCTL_BREAKS"
"""In bash: the characters at which readline breaks words; it replaces only what follows the last of them."""

SEPARATORS = ":="
"""Of those, the ones that occur inside kvmctl's words."""

CURSOR = "\x01"
"""Stands for the cursor while the line is split, so that the word it is in is known even between quotes."""

BASH = r"""# bash completion for kvmctl

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
"""

ZSH = r"""#compdef kvmctl
# zsh completion for kvmctl

_kvmctl() {
    local type value help
    local -a plain described
    while IFS=$'\t' read -r type value help; do
        case $type in
            plain)
                if [[ -n $help ]]; then described+=("${value//:/\\:}:$help"); else plain+=("$value"); fi ;;
            dir) compset -P '--*='; _files -/ ;;
            file)
                compset -P '--*='
                if [[ -n $value ]]; then _files -g "*(${value// /|})(-.)"; else _files; fi ;;
        esac
    done < <(_KVMCTL_COMPLETE=zsh_complete _KVMCTL_LINE="${words[1,CURRENT-1]} $PREFIX" "${~words[1]}" 2>/dev/null)
    (( $#described )) && _describe -V kvmctl described
    (( $#plain )) && compadd -V kvmctl -a plain
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _kvmctl "$@"; else compdef _kvmctl kvmctl; fi
"""

FISH = r"""# fish completion for kvmctl

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
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def answer(root: click.Command, app: App, environment: Mapping[str, str]) -> int:
    """Answer one TAB, or with `SHELL_source` give the shell its script; the exit code."""
    shell, _, wish = environment[REQUEST].partition("_")
    if shell not in SCRIPTS or wish not in ("source", "complete"):
        return 2
    try:
        sys.stdout.write(SCRIPTS[shell] if wish == "source" else "".join(_lines(root, app, shell, environment)))
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - see above: an error would land in the line that the person is typing
        return 1
    return 0


def _lines(root: click.Command, app: App, shell: str, environment: Mapping[str, str]) -> Iterable[str]:
    words = split_arg_string(environment.get(LINE, "") + CURSOR)[1:]
    incomplete = words.pop().removesuffix(CURSOR) if words else ""
    # Click completes the VALUE of --option=VALUE alone; the shell is told the whole word.
    prefix = ""
    if incomplete.startswith("--") and "=" in incomplete and "--" not in words:
        prefix = incomplete[: incomplete.index("=") + 1]
    known = _already_there(incomplete, environment.get(BREAKS, "")) if shell == "bash" else ""
    completion = ShellComplete(root, {"obj": app}, "kvmctl", REQUEST)
    for item in completion.get_completions(words, incomplete):
        if item.type != "plain":
            yield f"{item.type}\t{item.suffixes or ''}\n"
        elif item.value.isprintable():
            value = f"{prefix}{item.value}".removeprefix(known)
            about = "" if shell == "bash" else " ".join((item.help or "").split())
            yield f"plain\t{value}\t{about}\n"


def _already_there(incomplete: str, breaks: str) -> str:
    """The part of the word that bash will keep, up to the last character at which it breaks words."""
    last = max((incomplete.rfind(separator) for separator in SEPARATORS if separator in breaks), default=-1)
    return incomplete[: last + 1]


def files(suffixes: str = "") -> list[CompletionItem]:
    """Ask the shell to complete names of files that end in one of `suffixes`, given with blanks between them."""
    return [CompletionItem("", type="file", suffixes=suffixes)]

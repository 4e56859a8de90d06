# Completion of this repository's commands in bash:
#
#     source scripts/completion.bash        # permanently: add this line with the full path to ~/.bashrc
#     python train.py lo<TAB> loss=<TAB> optimizer.<TAB> data.root=~/<TAB>
#     pixelwise train lo<TAB>
#
# Hydra's own completion (`python train.py -sc install=bash`) starts every script that follows `python`, even
# one that does not know `-sc`, and removes `=` from the shell's word breaks, so that file names are no longer
# completed. This completion starts only the scripts of this repository and leaves file names to the shell.
_pixelwise()
{
    local line=${COMP_LINE:0:COMP_POINT} script=${COMP_WORDS[1]} word prefix
    COMPREPLY=()
    if (( COMP_CWORD < 2 )); then return; fi
    if [[ ${COMP_WORDS[0]} != pixelwise ]] && ! grep -qs '^from pixelwise.commands' -- "$script"; then return; fi
    word=${line##* }
    if [[ $word == *=[./~]* ]]; then return; fi
    prefix=${word%"${word##*[=@:]}"}        # the shell breaks words here and adds this part itself
    COMPREPLY=($(compgen -W "$(COMP_LINE="python train.py ${line#*"$script"}" COMP_POINT=$COMP_POINT \
        "${COMP_WORDS[0]}" "$script" -sc query=bash 2> /dev/null)" -- "$word"))
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}
complete -o nospace -o default -F _pixelwise python python3 pixelwise

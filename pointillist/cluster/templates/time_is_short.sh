{# Part of base_script.sh: what a script does when a signal says that its time is nearly up. #}

# {{ request.signal_before_s }} s before the time limit the work is told, by SIGUSR1, and nothing else is begun.
warned=0
again=0
warn() {
    warned=$((warned + 1))
    kill -s USR1 ${pids[@]+"${pids[@]}"} 2>/dev/null || true
}
trap warn USR1
follow() {
    local heard code
    while :; do
        heard=$warned
        code=0
        wait "$1" || code=$?
        [ "$heard" = "$warned" ] && break
    done
    # {{ exit_again }}: it wants to go on. {{ exit_warned }}: the signal came before it had begun.
    if [ "$code" = {{ exit_again }} ] || [ "$code" = {{ exit_warned }} ]; then
        warned=1
        again=1
    elif [ "$code" != 0 ]; then
        status=$code
    fi
}


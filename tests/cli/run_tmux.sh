#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rs-top on a real terminal: colours, resizing, stop and continue, data on standard input, and what is left after it was killed.
command -v tmux >/dev/null || { echo "SKIP tmux: not installed"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
ldd "$(command -v rs-top)" | grep -q ncurses || { echo "SKIP tmux: built without ncurses"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
passed=0 failed=0
dir=$(mktemp -d)
run=0
tm() { tmux -L "rs-top-$$-$run" -f /dev/null "$@"; }
trap 'tm kill-server 2>/dev/null; rm -rf "$dir"' EXIT
cp "$T/golden/good/stats.rsq" "$dir"
cd "$dir" || exit 1

screen() { tm capture-pane -p -t s "$@"; }
keys() { tm send-keys -t s "$@"; }
# until_screen PATTERN: waits until a line of the screen matches, 15 seconds at most.
until_screen() {
    for _ in {1..300}; do
        screen | grep -qE -- "$1" && return
        sleep 0.05
    done
    return 1
}
check() { # NAME STATUS
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAIL tmux: $1"
        screen
    fi
}
expect() { until_screen "$2"; check "$1" $?; }
start() { # a server and a shell of its own for each run, whose prompt says that it waits
    tm kill-server 2>/dev/null
    run=$((run + 1))
    tm new-session -d -s s -x 100 -y 30 "env PS1='ready> ' PATH='$PATH' LC_ALL=C.UTF-8 TERM=screen-256color bash --norc --noprofile"
    expect "a shell" '^ready>'
}
# The terminal works as before: it echoes what is typed, and the shell's own screen is back.
sane() {
    keys 'stty -a | tr " ;" "\n\n" | grep -xE -- "-?(echo|icanon|icrnl|opost)" | xargs echo state' Enter
    expect "$1: echo and lines are back" '^state .*icrnl.* opost.* icanon.* echo|^state icrnl opost icanon echo'
    keys 'echo se''en' Enter
    expect "$1: the screen is back" '^seen'
}

start # 1. screens, colours
keys 'rs-top stats.rsq' Enter
expect "first screen" '^ rs-top  stats.rsq .* 1/5 overview'
screen -e | grep -q $'\033\[[0-9;]*3[36]m'
check "colours" $?
keys Enter
expect "into a tensor" '2/5 tensor'
screen | grep -q '█'
check "blocks" $?
keys 5
expect "checked while one looks" 'every byte and every rule verified: good'
keys q
expect "quit" '^ready>'
sane "after quitting"
keys 'NO_COLOR=1 rs-top stats.rsq' Enter
expect "without colour" '1/5 overview'
if screen -e | grep -q $'\033\[[0-9;]*3[1-6]m'; then check "NO_COLOR" 1; else check "NO_COLOR" 0; fi

start # 2. sizes
keys 'rs-top stats.rsq' Enter
expect "first screen" '1/5 overview'
tm resize-window -t s -x 70 -y 20
expect "smaller" '^ rs-top .*1/5 overview$'
tm resize-window -t s -x 40 -y 10
expect "too small" '^need 60x16, have 40x10$'
tm resize-window -t s -x 2 -y 1
expect "two cells" '^ne$'
tm resize-window -t s -x 120 -y 40
expect "large" '1/5 overview'
keys q
expect "quit" '^ready>'

start # 3. stop and continue
keys 'rs-top stats.rsq' Enter
expect "first screen" '1/5 overview'
keys C-z
expect "stopped" 'Stopped'
sane "while stopped"
keys 'fg' Enter
expect "continued" '1/5 overview'
keys 3
expect "alive" '3/5 rotation'
keys C-c
expect "ended by SIGINT" '^ready>'
sane "after SIGINT"

start # 4. data on standard input, a frame at a time
mkfifo slow
keys '(head -c 1000; cat slow >/dev/null; cat) <stats.rsq | rs-top -' Enter
expect "incomplete" 'standard input .*incomplete, 0.0 MB so far'
keys 5
expect "keys from the terminal" '5/5 file'
echo go >slow
expect "complete" 'standard input .*complete, xxh128'
keys q
expect "quit" '^ready>'
keys 'head -c 1500 stats.rsq | rs-top -; echo "exit $?"' Enter
expect "cut" '! E_TRUNC'
keys q
expect "the class of the fault" '^exit 12'
sane "after a fault"

start # figures that are computed, and a fault that only the check of all bytes finds, beside the screen
cp "$T/golden/good/raw_f32.rsq" bad.rsq
keys 'rs-top bad.rsq' Enter
expect "computed" 'at: computed now'
keys q
expect "quit" '^ready>'
printf '\x55' | dd of=bad.rsq bs=1 seek=$(($(LC_ALL=C grep -obUaP '\xd3RSQTSUM' bad.rsq | head -n 1 | cut -d: -f1) - 8)) conv=notrunc status=none
keys 'rs-top bad.rsq; echo "exit $?"' Enter
expect "the fault in the header" '^ rs-top  bad.rsq  ! E_SUM: frame [0-9]+ TENS'
keys 2
expect "on every screen" '! E_SUM: .* 2/5 tensor'
keys q
expect "the class of the fault" '^exit 13'

for signal in SEGV ABRT TERM; do # 5. what is left behind
    start
    keys 'rs-top stats.rsq' Enter
    expect "first screen" '1/5 overview'
    kill -$signal "$(tm list-panes -t s -F '#{pane_pid}' | xargs pgrep -P | head -n 1)"
    expect "killed by $signal" '^ready>'
    sane "after SIG$signal"
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]

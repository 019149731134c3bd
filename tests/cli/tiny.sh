# SPDX-License-Identifier: Apache-2.0
# For the cases: a tiny model in model.rsq, a text in text.txt, rotation sets in $tiny, and how a command ends.
tiny=$T/golden/tiny
rs-import "$tiny/hf" -o model.rsq || exit 99
for i in {1..40}; do echo "the hand and the rain in the land, $i"; done >text.txt

# Offsets depend on the commit that the provenance names.
plain() { sed -E 's/offset [0-9]+/offset N/g'; }

# Runs a command line; prints what it says, on both outputs, and how it ends.
try() {
    timeout 60 bash -c "$*" 2>&1 | plain
    echo "exit ${PIPESTATUS[0]}"
}

# Names of files that should not be: arguments, and temporaries of atomic outputs.
left() {
    local f
    for f in "$@" .*.??????; do [ -e "$f" ] && echo "left behind: $f"; done
    return 0
}

# Ends when the shell command is true, after 10 seconds at most.
until_true() {
    local i
    for i in {1..500}; do eval "$1" && return; sleep 0.02; done
    echo "still not: $1"
}

# Runs a command line whose standard output nobody reads any more; how it ends.
unread() {
    rm -f gone
    (until_true '[ -e gone ]'; eval "$*") | { exec <&-; touch gone; }
    echo "exit ${PIPESTATUS[0]}"
}

# SPDX-License-Identifier: Apache-2.0
# Draws the log of rs-learn: loss of each step, its running mean over 16 steps, held-out loss, the best set. Needs gnuplot.
#   gnuplot -e "log='learn.jsonl'" samples/plot_learning.gp >learning.svg
#   gnuplot -e "log='learn.jsonl'; terminal='dumb'" samples/plot_learning.gp       # as text
if (!exists("log")) log = "learn.jsonl"
if (!exists("terminal")) terminal = "svg size 900,500 background 'white'"
eval("set terminal ".terminal)

# Lines are {"step": N, "loss": X, ...} and {"step": N, "heldout": X, ...}: cut at colons and commas, fields 2 and 4.
rows(kind, program) = sprintf("< awk -F'[:,]' '$3 ~ /\"%s\"/ && $4 != \" null\" { %s }' '%s'", kind, program, log)
step = rows("loss", "print $2, $4")
running = rows("loss", "n++; m += ($4 - m) / (n < 16 ? n : 16); print $2, m")
heldout = rows("heldout", "print $2, $4")
best = rows("heldout", "if (best == \"\" || $4 + 0 < best) { best = $4 + 0; at = $2 } } END { if (at != \"\") print at, best")

set xlabel "step"
set ylabel "loss (nats per token)"
set key top right
set grid
plot step using 1:2 with points pointtype 7 pointsize 0.3 linecolor rgb "#9ecae1" title "step", \
     running using 1:2 with lines linewidth 2 linecolor rgb "#2171b5" title "mean of 16 steps", \
     heldout using 1:2 with linespoints pointtype 5 linewidth 2 linecolor rgb "#d94801" title "held out", \
     best using 1:2 with points pointtype 6 pointsize 2 linewidth 2 linecolor rgb "#238b45" title "best"

#!/bin/sh
# The figures of README and model card: lvc's default against four anchors on all of val, 96 frames each, at most 480 rows.
#     scripts/figures/eval_val.sh [lvc eval OPTION...]
# Table, points and page land in .work/eval-val (or OUT). Cut off, the same command goes on where it was; anchors stay
# measured when the model changes. Options are appended and win: --frames 8 --jobs 2 --anchors x264:medium,vvc:fast
# Reads $LVC_DATA/val (default: ../shared/data/val beside the checkout); CLIPS names some of it: CLIPS='foreman* php*'.
set -eu
cd "$(dirname "$0")/../.."
out=${OUT:-.work/eval-val}
val=${LVC_DATA:-../shared/data}/val
mkdir -p "$out"
set -- --frames 96 --max-height 480 --anchors x264:medium,x264:veryfast,x265:medium,svtav1:6 --work "$out/store" "$@"
for pattern in ${CLIPS:-*}; do
    for clip in "$val"/$pattern; do
        set -- "$@" "$clip"
    done
done
status=0
python -m lvc eval --resume --force --report "$out/report.html" --csv "$out/points.csv" "$@" >"$out/table.part" || status=$?
mv "$out/table.part" "$out/table.txt"
cat "$out/table.txt"
exit $status

#!/bin/sh
# The figures of README and model card: lvc's default against six anchors on all of val, 96 frames each, at most 480 rows.
#     scripts/figures/eval_val.sh [lvc eval OPTION...]
#     scripts/figures/eval_val.sh --qualities none                # the anchors alone, once for every model to come
# Table, points and page land in .work/eval-val (or OUT). Cut off, the same command goes on where it was. Anchors are
# measured at CRFs of their own, which cover lvc's qualities 20 to 80, and at the size of lvc's file once per clip for the
# pictures. Options are appended and win: --frames 8 --jobs 2 --anchors x264:medium,vvc:fast
# Speeds of anchors that were measured on a busy machine (~) can be had afterwards, on some clips in a store of their own:
#     OUT=.work/eval-speed CLIPS='foreman* *flower*' scripts/figures/eval_val.sh --metrics psnr --qualities 40 \
#         --anchors x264:medium@26,x264:veryfast@26,x265:medium@26,svtav1:6@35
# Reads $LVC_DATA/val (default: ../shared/data/val beside the checkout); CLIPS names some of it: CLIPS='foreman* php*'.
set -eu
cd "$(dirname "$0")/../.."
out=${OUT:-.work/eval-val}
val=${LVC_DATA:-../shared/data}/val
mkdir -p "$out"
anchors=x264:medium@16/22/28/34,x264:medium:psnr@16/22/28/34,x264:veryfast@16/22/28/34
anchors=$anchors,x265:medium@16/22/28/34,x265:medium:psnr@16/22/28/34,svtav1:6@14/24/35/47
set -- --frames 96 --max-height 480 --threads 2 --anchors "$anchors" --work "$out/store" "$@"
set -f # the patterns are of files in val, not of those here
for pattern in ${CLIPS:-*}; do
    set +f
    for clip in "$val"/$pattern; do
        [ -d "$clip" ] || set -- "$@" "$clip"
    done
done
status=0
python -m lvc eval --resume --force --report "$out/report.html" --csv "$out/points.csv" "$@" >"$out/table.part" || status=$?
mv "$out/table.part" "$out/table.txt"
cat "$out/table.txt"
exit $status

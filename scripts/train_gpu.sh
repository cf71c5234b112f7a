#!/usr/bin/env bash
# Trains both networks of codec 2 at once on a lent GPU, from .gpu/ (data.pack, intra.pt, inter.pt), and stops by itself:
#
#   scripts/train_gpu.sh 9          # minutes, unpacking included
#
# docs/training-gpu.md tells the whole of it. Results go to $OUT; full states stay in .gpu-run/ for a second call on the
# same machine. INTRA and INTER hold more options of lvc.training.intra and lvc.training.inter, DEVICE says where
# to run, ONLY=intra or ONLY=inter what, and COMPILE= that nothing is compiled.
set -u -o pipefail
cd "$(dirname "$0")/.."
minutes=${1:-9}
until=$(python3 -c "import time; print(time.time() + 60 * $minutes)")
out=${OUT:-.gpu-out}
mkdir -p .gpu-run "$out"
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$PWD/.gpu-run/compiled
device=${DEVICE:-cuda}
cores=$(nproc)
intra=${INTRA:---batch 128}
inter=${INTER:---batch 64 --groups 6 --searchers $((cores > 4 ? cores - 3 : 1))}
compile=${COMPILE---compile}
rm -f .gpu-run/intra.pt .gpu-run/inter.pt  # of a call before: its learning rate has fallen; the .flat.pt beside goes on

left() { python3 -c "import time; print(int($until - time.time()))"; }

# Again where one fails: first without compilation, the likeliest cause.
train() {
    local name=$1
    shift
    local options=$compile
    for _ in 1 2 3; do
        # shellcheck disable=SC2086
        python3 -m "lvc.training.$name" "$@" --device "$device" --minutes "$minutes" --until "$until" --report "${REPORT:-10}" \
            --save "${SAVE:-60}" --export "$out" --resume ".gpu-run/$name.flat.pt" ".gpu/$name.pt" $options 2>&1 |
            sed -u "s/^/$name /" && return
        echo "$name failed, $(left) s left"
        [ "$(left)" -gt 20 ] || return 1
        options=
    done
    return 1
}

{
    python3 -c 'from lvc.engine.library import chosen; print("engine", chosen())' || python3 scripts/build_native.py
    sum=$(cksum < .gpu/data.pack)
    if [ "$(cat .gpu-run/unpacked 2> /dev/null)" != "$sum" ]; then
        python3 research/pack_data.py unpack .gpu/data.pack .gpu-run/data && echo "$sum" > .gpu-run/unpacked
    fi
    echo "training for $(left) s"
    pids=()
    # shellcheck disable=SC2086
    if [ "${ONLY:-intra}" = intra ]; then
        train intra .gpu-run/data/stills .gpu-run/intra.pt --resident $intra &
        pids+=($!)
    fi
    # shellcheck disable=SC2086
    if [ "${ONLY:-inter}" = inter ]; then
        train inter .gpu-run/data/clips .gpu/intra.pt .gpu-run/inter.pt $inter &
        pids+=($!)
    fi
    failed=0
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    ls -l "$out"
    exit $failed
} 2>&1 | tee "$out/train.out"

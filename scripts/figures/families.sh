#!/bin/sh
# The families of docs/families.md: trains each for equal steps on one core, then measures them on val (families.py).
#     scripts/figures/families.sh [families.py OPTION...]
# STEPS (800) of ae and vae; the gan begins with the vae and has 5 of 16 of them, which cost it two and a half times as much
# CPU time (two passes of the discriminator). MINUTES=12 trains for minutes instead. Models, logs and points land in .work/families
# (or OUT). Cut off, the same command goes on where it was. Reads $LVC_DATA (default: ../shared/data beside the checkout).
set -eu
cd "$(dirname "$0")/../.."
out=${OUT:-.work/families}
data=${LVC_DATA:-../shared/data}
steps=${STEPS:-800}
mkdir -p "$out"
train() { # name, steps, options
    name=$1 limit="--max-steps $2"
    [ -z "${MINUTES:-}" ] || limit="--minutes $MINUTES"
    shift 2
    # caches are the same for all
    [ "$name" = ae ] || [ -d "$out/$name.work" ] || { mkdir "$out/$name.work" && cp "$out"/ae.work/stills.* "$out/ae.work/sources.json" "$out/$name.work"; }
    nice python -m lvc train "$data/train" "$out/$name.safetensors" --threads 1 --loss mse=1,ms-ssim=0.02 $limit "$@"
}
train ae "$steps" --family ae
train vae "$steps" --family vae
train gan $((steps * 5 / 16)) --family gan --init "$out/vae.safetensors"
# a VAE that knows a frame of 1080p by 270 numbers
train vae270 "$steps" --family vae --stride 128 --channels 2
LVC_DATA=$data nice python scripts/figures/families.py "$out/ae.safetensors" "$out/vae.safetensors" "$out/gan.safetensors" \
    "$out/vae270.safetensors" --out "$out/points.jsonl" "$@"

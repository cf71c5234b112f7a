#!/bin/sh
# Train the default model: scripts/train_default.sh DATA_FOLDER [MINUTES]. Killed, the same command goes on where it was.
# State and log are under .work/default; the model is left there too: look at it before it goes to checkpoints/.
set -eu
cd "$(dirname "$0")/.."
data=${1:?a folder of video and photographs}
exec lvc train "$data" --out .work/default/default.safetensors --work .work/default --minutes "${2:-240}"

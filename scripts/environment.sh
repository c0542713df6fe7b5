# Sourced by the other scripts: a virtual environment with lmmjax in it, made once, kept fresh.
# environment <name> <extras> [pip arguments]   uses $PYTHON (default python3); sets $VENV

environment() {
    local name=$1 extras=$2
    shift 2
    local python=${PYTHON:-python3}
    VENV=$PWD/.venv-$name
    if [ ! -x "$VENV/bin/python" ]; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
            echo "lmmjax needs Python 3.11 or newer: set PYTHON=/path/to/python" >&2
            return 1
        }
        "$python" -m venv "$VENV"
    fi
    local stamp=$VENV/.installed-from
    local wanted
    wanted="$(cksum pyproject.toml) $extras $*"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
            --editable ".[$extras]" "$@"
        echo "$wanted" >"$stamp"
    fi
}

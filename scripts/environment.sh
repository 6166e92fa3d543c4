# Sourced by the other scripts: makes .venv and installs the locked dependencies, once.

# Installs requirements/$1.txt and this repository into .venv; does nothing when that was done before.
set_up() {
    local lock="requirements/$1.txt" stamp=".venv/installed-$1" python
    local wanted
    wanted=$(cat "$lock" pyproject.toml scripts/environment.sh | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python)
        echo "Making .venv with $("$python" --version)." >&2
        "$python" -m venv .venv
    fi
    echo "Installing the packages of $lock (a minute or two, once)." >&2
    rm -f .venv/installed-*
    install --require-hashes --no-deps -r "$lock"
    install "$(torch_version)"
    install --no-deps --no-build-isolation -e .
    echo "$wanted" >"$stamp"
}

install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" 2>.venv/install.log || {
        cat .venv/install.log >&2
        echo "The installation failed. Mend what the lines above say, then run the same command again." >&2
        exit 1
    }
}

# The exact version stands in one place, pyproject.toml.
torch_version() {
    sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed. Install it, or name it: PYTHON=/path/to/python3 $0" >&2
    exit 1
}

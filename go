#!/usr/bin/env bash
# Sets up what is needed in .venv and runs one thing. The commands of README.md and of .ci/run are these.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

VENV="${HIMALIA_VENV:-.venv}"
NOTEBOOK=notebooks/01_first_steps.ipynb
LABEXTENSION=kernel_ext/lab/labextension/package.json

usage() {
    cat <<'EOF'
usage: ./go [command] [arguments]

  notebook             open the first notebook in JupyterLab (the default)
  notebook --execute   run it without a browser and say whether it worked
  test [pytest args]   run the tests
  lint                 ruff: rules and formatting
  fix                  let ruff repair and format what it can
  types                mypy, strictly
  pictures             run the notebooks in JupyterLab; keep their outputs and the documentation's pictures
  lab [--check]        build the JupyterLab extension's front end (or compare), with Node from PyPI
  hub [pytest args]    test the JupyterLab extension and the widgets in a JupyterHub, which it installs
  docs                 build the documentation into docs/_build
  check                lint, types, docs and tests
EOF
}

need_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    echo "Python 3.11 or later is needed; python3 is $(python3 --version 2>&1)" >&2
    exit 1
}

# Debian splits the venv module from Python.
need_venv_module() {
    python3 -c 'import ensurepip, venv' 2>/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv
    else
        echo "Python 3.11 or later with its venv module is needed (Debian: apt install python3-venv)" >&2
        exit 1
    fi
}

# need EXTRA: install this checkout with the extra, once for each state of pyproject.toml and of the built JupyterLab
# extension, which an editable installation copies.
need() {
    if [ ! -x "$VENV/bin/python" ]; then
        need_python
        need_venv_module
        python3 -m venv "$VENV"
    fi
    local stamp="$VENV/.himalia-$1"
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ "$LABEXTENSION" -nt "$stamp" ]; then
        echo "installing himalia[$1] into $VENV"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[$1]"
        touch "$stamp"
    fi
}

run_notebook() {
    need all
    if [ "${1:-}" = --execute ]; then
        "$VENV/bin/jupyter" nbconvert --to notebook --execute --stdout --ExecutePreprocessor.timeout=300 \
            "$NOTEBOOK" >/dev/null
        echo "$NOTEBOOK ran from top to bottom"
        return
    fi
    local options=()
    # JupyterLab refuses to serve root unless told that this is meant, as in a container.
    [ "$(id -u)" = 0 ] && options+=(--allow-root)
    exec "$VENV/bin/jupyter" lab "${options[@]}" "$@" "$NOTEBOOK"
}

lint() {
    need dev
    "$VENV/bin/ruff" check .
    "$VENV/bin/ruff" format --check .
}

fix() {
    need dev
    "$VENV/bin/ruff" check --fix .
    "$VENV/bin/ruff" format .
}

types() {
    need dev
    "$VENV/bin/python" tools/typecheck.py
    # With the package as it is imported, which the step before has laid out there.
    MYPYPATH=.typecheck "$VENV/bin/mypy" --config-file pyproject.toml --explicit-package-bases --follow-imports=silent \
        --cache-dir .mypy_cache/tools tools
}

docs() {
    need dev
    "$VENV/bin/sphinx-build" --fail-on-warning --keep-going -q -b html docs docs/_build
    echo "docs/_build/index.html is built"
}

pictures() {
    need test
    "$VENV/bin/python" -m tools.record_pictures "$@"
}

lab() {
    need lab
    "$VENV/bin/python" -m tools.build_lab "$@"
}

# JupyterHub's proxy, from npm, by the Node of this environment.
HUB_PROXY=configurable-http-proxy@5.3.0

hub() {
    need hub
    if [ ! -x .hub/node_modules/.bin/configurable-http-proxy ]; then
        echo "installing $HUB_PROXY into .hub"
        PATH="$PWD/$VENV/bin:$PATH" "$VENV/bin/npm" install --silent --no-fund --no-audit --prefix .hub "$HUB_PROXY"
    fi
    "$VENV/bin/python" -m pytest tests/browser/test_jupyterhub.py "$@"
}

run_tests() {
    need test
    "$VENV/bin/python" -m pytest "$@"
}

command="${1:-notebook}"
[ $# -gt 0 ] && shift
case "$command" in
    notebook) run_notebook "$@" ;;
    test) run_tests "$@" ;;
    lint) lint ;;
    fix) fix ;;
    types) types ;;
    docs) docs ;;
    lab) lab "$@" ;;
    hub) hub "$@" ;;
    pictures) pictures "$@" ;;
    check) # not joined by &&, which would switch off `set -e` inside
        lint
        types
        docs
        run_tests
        ;;
    -h | --help | help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac

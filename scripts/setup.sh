#!/usr/bin/env bash
# Makes .venv what requirements.lock says, with uv where it is installed, else with venv and pip,
# and installs headstart into it, editable. Does nothing where all of that is already so.
#
# PYTHON=...  the interpreter to use (default: the first that fits of python3, python3.13, ...)
# UV=...      the uv to use; empty (UV=) means venv and pip
#
# Bash 3.2 is enough (macOS).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=.venv
python=$venv/bin/python
# What the environment was made from is kept in it and compared: an edited lock is seen.
stamp=$venv/headstart.stamp
# Lies in the environment while it is being filled: found at the start, a set-up was interrupted.
unfinished=$venv/headstart.unfinished
versions='3.11, 3.12 or 3.13'

# Bytecode halves the start of every stage; this variable would keep it from being written.
unset PYTHONDONTWRITEBYTECODE
# An activated environment or a foreign library path must not leak into this one.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH

say() { printf 'headstart: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# Prints "3.12", or nothing where the interpreter does not run (a pyenv shim may not).
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

fits() { case $1 in 3.11 | 3.12 | 3.13) true ;; *) false ;; esac }

wanted_stamp() {
    printf '%s\n%s\n' "$root" "$("$python" -c 'import sys; print(sys.version)' 2>/dev/null)"
    cat requirements.lock pyproject.toml scripts/setup.sh
}

up_to_date() {
    [ -f "$stamp" ] && [ ! -e "$unfinished" ] && [ -x "$python" ] || return 1
    if [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$(version_of "$python")" ]; then
        return 1
    fi
    wanted_stamp | cmp -s - "$stamp"
}

# Sets `base` to an interpreter that fits, or says what is missing and ends.
find_python() {
    local candidate version seen='' no_venv=''
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        version=$(version_of "$candidate")
        if fits "$version"; then
            if [ -n "$uv" ] || "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                base=$candidate
                return
            fi
            no_venv=${no_venv:-"$candidate $version"}
        elif [ -n "$version" ]; then
            seen="$seen, $candidate is $version"
        fi
        # A Python that was asked for by name is not silently replaced by another.
        [ -z "${PYTHON:-}" ] || break
    done
    if [ -n "$no_venv" ]; then
        die "${no_venv% *} (Python ${no_venv##* }) has no venv with pip." \
            "Debian, Ubuntu: apt install python${no_venv##* }-venv (or python3-venv). Or install uv."
    fi
    if [ -n "$uv" ] && [ -z "${PYTHON:-}" ]; then
        # uv knows Pythons that are not on PATH.
        base=$("$uv" python find --no-project '>=3.11,<3.14' 2>/dev/null || true)
        [ -z "$base" ] || return 0
    fi
    seen=${seen:+"Found: ${seen#, }. "}
    [ -z "${PYTHON:-}" ] || seen=${seen:-"PYTHON=$PYTHON does not run. "}
    die "needs Python $versions (TensorFlow has no release for others). ${seen:-"Found none. "}Install" \
        "one, or name it: make run PYTHON=/path/to/python3.13"
}

cannot_install() {
    die "the packages of requirements.lock could not be installed; the reason stands above." \
        "Is the package index out of reach? Check network and proxy, or name a mirror" \
        "(UV_INDEX_URL for uv, PIP_INDEX_URL for pip). Then: make setup"
}

make_environment() {
    local version
    if [ -e "$unfinished" ]; then
        say 'the last set-up was interrupted: starting afresh'
        rm -rf "$venv"
    elif [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$root" ]; then
        say 'the folder was moved: making .venv again'
        rm -rf "$venv"
    elif [ -e "$venv" ] || [ -L "$venv" ]; then
        version=$(version_of "$python")
        if ! fits "$version"; then
            say "the Python in .venv ${version:+is $version and }cannot be used: making .venv again"
            rm -rf "$venv"
        elif [ -n "${PYTHON:-}" ] && [ "$(version_of "$PYTHON")" != "$version" ]; then
            find_python
            say "$PYTHON is not the Python $version of .venv: making .venv again"
            rm -rf "$venv"
        fi
    fi
    if [ ! -e "$venv" ]; then
        find_python
        say "making .venv with $base (Python $(version_of "$base")), $tool"
        mkdir "$venv"
        : >"$unfinished"
        if [ -n "$uv" ]; then
            "$uv" venv --quiet --allow-existing --python "$base" "$venv"
        else
            "$base" -m venv "$venv"
        fi
    fi
    : >"$unfinished"
    rm -f "$stamp"
}

install_packages() {
    say "installing what requirements.lock names: 1 GB to fetch, 3.6 GB on disk, minutes the first time"
    if [ -n "$uv" ]; then
        "$uv" pip sync --python "$python" --require-hashes --compile-bytecode requirements.lock ||
            cannot_install
        "$uv" pip install --quiet --python "$python" --offline --no-deps --no-build-isolation \
            --editable . || die 'headstart itself could not be installed; the reason stands above.'
    else
        # An environment that uv made has no pip.
        "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
        # The lock is complete, so there is nothing to resolve.
        "$python" -m pip install --disable-pip-version-check --no-input --compile --no-deps \
            --require-hashes --requirement requirements.lock || cannot_install
        "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
            --no-build-isolation --editable . ||
            die 'headstart itself could not be installed; the reason stands above.'
    fi
    "$python" -m compileall -q src/headstart
}

in_git() {
    local folder=$root
    while [ -n "$folder" ]; do
        [ ! -e "$folder/.git" ] || return 0
        folder=${folder%/*}
    done
    return 1
}

# DVC refuses to work outside git (in an unpacked tarball) unless it is told to.
tell_dvc_about_git() {
    local told=no
    ! grep -qs 'no_scm *= *true' .dvc/config.local || told=yes
    if ! in_git && [ $told = no ]; then
        say 'no git repository here: DVC is set to work without (core.no_scm in .dvc/config.local)'
        "$venv/bin/dvc" config --quiet --local core.no_scm true
    elif in_git && [ $told = yes ]; then
        say 'a git repository here now: DVC is set to use it (core.no_scm in .dvc/config.local)'
        "$venv/bin/dvc" config --quiet --local --unset core.no_scm
    fi
}

if ! up_to_date; then
    if [ -z "${UV+set}" ]; then
        uv=$(command -v uv || true)
    else
        uv=$UV
    fi
    if [ -n "$uv" ]; then tool="with uv"; else tool="with venv and pip"; fi

    # One set-up at a time. The lock belongs to the open file, so it ends with this process and its
    # children, however they end.
    if [ ! -x "$python" ]; then find_python; else base=$python; fi
    mkdir -p .headstart
    exec 9>.headstart/setup.lock
    "$base" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null || {
        say 'another set-up is at work in this folder: waiting for it'
        "$base" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    }
    if ! up_to_date; then
        make_environment
        install_packages
        wanted_stamp >"$stamp"
        rm -f "$unfinished"
        say '.venv is ready'
    fi
fi
tell_dvc_about_git

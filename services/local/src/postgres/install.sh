# Installs Debian packages where that can be done without asking: as root, or with a sudo that needs no
# password. Bash, with `set -euo pipefail`. The tests source it, and the demo runs it when Postgres's programs
# are missing.

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null
}

# install_packages WHO PACKAGE...: WHO is named in what it says. All output goes to standard error.
install_packages() {
    local who=$1 options=(-q -o DPkg::Lock::Timeout=300 -o APT::Color=0)
    shift
    if ! may_install; then
        echo "$who: $* cannot be installed here; use your system's packages" >&2
        return 1
    fi
    echo "$who: installing $*" >&2
    as_root apt-get "${options[@]}" update >&2 || return
    # A file of settings that is there already stays as it is.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" -o Dpkg::Options::=--force-confold \
        install -y --no-install-recommends "$@" >&2
}

# install_postgres WHO: Postgres's server programs.
install_postgres() (
    no_cluster=/etc/postgresql-common/createcluster.d/veilpost.conf
    if may_install; then
        # While this file is there, Debian's package does not make and start a cluster.
        trap 'as_root rm -f "$no_cluster"' EXIT
        as_root mkdir -p "${no_cluster%/*}"
        echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
    fi
    install_packages "$1" postgresql
)

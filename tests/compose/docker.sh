# Sourced by run: a Docker daemon with compose and buildx, also on a machine that has neither and reaches no
# image registry.
#
# What is there already is used. Everything else comes from Debian's own packages, through the mirror in apt's
# sources.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/veilpost-ci
mkdir -p "$cache"

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo -n)

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

plugin() {
    docker "$1" version >/dev/null 2>&1 && return
    say "fetching docker $1 from Debian's packages"
    unpack_packages "$cache/plugins" "docker-$1"
    mkdir -p "$HOME/.docker/cli-plugins"
    ln -sf "$cache/plugins/usr/libexec/docker/cli-plugins/docker-$1" "$HOME/.docker/cli-plugins/docker-$1"
    docker "$1" version >/dev/null || die "docker $1 does not work"
}

# Whether there is a daemon, or the rights that one needs.
may_run_containers() {
    docker info >/dev/null 2>&1 || "${sudo[@]}" unshare --mount --net mount -t tmpfs none /mnt 2>/dev/null
}

# A daemon that was killed leaves the file that says it runs. Once another program has its process id, the
# next one believes it, or waits for it: forget_dead PROGRAM FILE
forget_dead() {
    local pid
    pid=$("${sudo[@]}" cat "$2" 2>/dev/null) || return 0
    [ "$("${sudo[@]}" cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || "${sudo[@]}" rm -f "$2"
}

dockerd_pid=
start_docker() {
    need tests/compose/run docker docker.io
    need tests/compose/run dockerd docker.io
    need tests/compose/run iptables iptables
    # The package may have started a daemon by itself.
    docker info >/dev/null 2>&1 && return
    say "starting dockerd"
    forget_dead dockerd /var/run/docker.pid
    forget_dead containerd /var/run/docker/containerd/containerd.pid
    "${sudo[@]}" dockerd --group "$(id -gn)" >"$cache/dockerd.log" 2>&1 &
    dockerd_pid=$!
    for _ in $(seq 90); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$dockerd_pid" 2>/dev/null || break
        sleep 1
    done
    tail -n 20 "$cache/dockerd.log" >&2
    die "dockerd does not start"
}

stop_docker() {
    [ -n "$dockerd_pid" ] || return 0
    "${sudo[@]}" kill "$dockerd_pid"
    wait "$dockerd_pid" || true
}

ready_docker() {
    docker info >/dev/null 2>&1 || start_docker
    plugin compose
    plugin buildx
}

# Removes all that belongs to the check's project, whatever state it is in.
remove_stack() {
    local ours=label=com.docker.compose.project=$COMPOSE_PROJECT_NAME
    docker ps -aq --filter "$ours" | xargs -r docker rm --force --volumes
    docker network ls -q --filter "$ours" | xargs -r docker network rm
    docker volume ls -q --filter "$ours" | xargs -r docker volume rm --force
}

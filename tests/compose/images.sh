# Sourced by run: the public images that the stack stands on, or stand-ins for them where no registry can be reached.
#
# A stand-in has the public image's name and is made of Debian's packages. It is no copy: deploy/compose/README.md names
# what a run on stand-ins leaves unchecked.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=debian:trixie-slim

# Whether an image is here already, or can be pulled.
available() {
    docker image inspect "$1" >/dev/null 2>&1 && return
    [ "$1" != veilpost-check-rotel ] && timeout 120 docker pull -q "$1" >/dev/null 2>&1
}

stand_in_base() {
    need debootstrap debootstrap
    local root
    root=$(mktemp -d)
    "${sudo[@]}" debootstrap --variant=minbase trixie "$root" "$(debian_mirror)" >"$cache/debootstrap.log"
    # Machines behind a proxy of their own trust more certificates than Debian does.
    "${sudo[@]}" mkdir -p "$root/etc/ssl/certs"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || "${sudo[@]}" cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/machine.crt"
    "${sudo[@]}" tar -C "$root" -c . | docker import - "$base" >/dev/null
    "${sudo[@]}" rm -rf --one-file-system "$root"
}

# The toolchain is this machine's own.
stand_in_rust() {
    local context sysroot
    sysroot=$(rustc --print sysroot) || die "no registry can be reached, and there is no rustc to build a stand-in for $1 from"
    context=$(mktemp -d)
    mkdir -p "$context/toolchain/bin" "$context/toolchain/lib/rustlib"
    cp "$sysroot"/bin/{cargo,rustc} "$context/toolchain/bin/"
    cp "$sysroot"/lib/*.so* "$context/toolchain/lib/"
    cp -r "$sysroot"/lib/rustlib/*-linux-gnu "$context/toolchain/lib/rustlib/"
    docker build -q -t "$1" -f "$here/stand-ins/rust.Dockerfile" "$context" >/dev/null
    rm -rf "$context"
}

# No stand-in: it takes Jaeger's place in every check, because it writes down what it receives.
receiver() {
    local context
    python3 -m pip --version >/dev/null 2>&1 || need pip3 python3-pip
    context=$(mktemp -d)
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.13 -d "$context" rotel==0.0.1a15
    (cd "$context" && python3 -m zipfile -e rotel-*.whl . && cp rotel/rotel-agent . && chmod 755 rotel-agent)
    docker build -q -t "$1" -f "$here/stand-ins/rotel.Dockerfile" "$context" >/dev/null
    rm -rf "$context"
}

stand_in() {
    say "building $1 from packages"
    case $1 in
    "$base") stand_in_base ;;
    rust:*) stand_in_rust "$1" ;;
    prom/prometheus:*) docker build -q -t "$1" -f "$here/stand-ins/prometheus.Dockerfile" "$here/stand-ins" >/dev/null ;;
    veilpost-check-rotel) receiver "$1" ;;
    postgres:*) docker build -q -t "$1" -f "$here/stand-ins/postgres.Dockerfile" "$here/stand-ins" >/dev/null ;;
    *) die "there is no stand-in for $1" ;;
    esac
}

# Makes sure of all images that are named: base first, because the other stand-ins stand on it.
ready_images() {
    local image
    for image in "$base" "$@"; do available "$image" || stand_in "$image"; done
}

# Sourced by run: the public images that the stack stands on, or stand-ins for them where no registry can be reached.
#
# A stand-in has the public image's name and is made of Debian's packages. It is no copy: see docs/compose.md for what
# a run on stand-ins leaves unchecked.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=debian:trixie-slim

# Whether an image is here already, or can be pulled.
available() { docker image inspect "$1" >/dev/null 2>&1 || timeout 120 docker pull -q "$1" >/dev/null 2>&1; }

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

stand_in() {
    say "building a stand-in for $1"
    case $1 in
    "$base") stand_in_base ;;
    rust:*) stand_in_rust "$1" ;;
    postgres:*) docker build -q -t "$1" -f "$here/stand-ins/postgres.Dockerfile" "$here/stand-ins" >/dev/null ;;
    *) die "there is no stand-in for $1" ;;
    esac
}

# Makes sure of all images that are named: base first, because the other stand-ins stand on it.
ready_images() {
    local image
    for image in "$base" "$@"; do available "$image" || stand_in "$image"; done
}

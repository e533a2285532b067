# Sourced by run: the public images that the stack stands on, or stand-ins for them where no registry can be
# reached.
#
# A stand-in has the public image's name and is made of Debian's packages. It is no copy:
# deploy/compose/README.md names what a run on stand-ins leaves unchecked.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=debian:trixie-slim

# What stand-ins are made from; they are made again when it changes.
recipe() { cat "$here/images.sh" "$here"/stand-ins/* <(rustc -V 2>/dev/null) | sha256sum | cut -c 1-16; }

# Whether an image is here already, as a stand-in of this recipe or as the public image.
is_here() {
    local made
    made=$(docker image inspect -f '{{index .Config.Labels "veilpost.stand-in"}}' "$1" 2>/dev/null) || return
    [ -z "$made" ] || [ "$made" = "$(recipe)" ]
}

# One that cannot be pulled tells that no other can.
registry=yes
pull() {
    [ -n "$registry" ] && timeout 120 docker pull -q "$1" >/dev/null 2>&1 && return
    registry=
    return 1
}

stand_in_base() {
    need tests/compose/run debootstrap debootstrap
    local root
    root=$(mktemp -d)
    "${sudo[@]}" debootstrap --variant=minbase trixie "$root" "$(debian_mirror)" >"$cache/debootstrap.log"
    # As the public image has it: packages are installed without waiting for the disk.
    echo force-unsafe-io | "${sudo[@]}" tee "$root/etc/dpkg/dpkg.cfg.d/docker" >/dev/null
    # Machines behind a proxy of their own trust more certificates than Debian does.
    "${sudo[@]}" mkdir -p "$root/etc/ssl/certs"
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || "${sudo[@]}" cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/machine.crt"
    "${sudo[@]}" tar -C "$root" -c . | docker import -c "LABEL veilpost.stand-in=$(recipe)" - "$base" >/dev/null
    "${sudo[@]}" rm -rf --one-file-system "$root"
}

# stand_in_on_base IMAGE DOCKERFILE [CONTEXT]
stand_in_on_base() {
    docker build -q -t "$1" --label "veilpost.stand-in=$(recipe)" -f "$here/stand-ins/$2" "${3:-$here/stand-ins}" >/dev/null
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
    stand_in_on_base "$1" rust.Dockerfile "$context"
    rm -rf "$context"
}

# No stand-in: it takes Jaeger's place in every check, because it writes down what it receives.
receiver() {
    local context
    python3 -m pip --version >/dev/null 2>&1 || need tests/compose/run pip3 python3-pip
    context=$(mktemp -d)
    python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.13 -d "$context" rotel==0.0.1a15
    (cd "$context" && python3 -m zipfile -e rotel-*.whl . && cp rotel/rotel-agent . && chmod 755 rotel-agent)
    stand_in_on_base "$1" rotel.Dockerfile "$context"
    rm -rf "$context"
}

stand_in() {
    say "building $1 from packages"
    case $1 in
    "$base") stand_in_base ;;
    rust:*) stand_in_rust "$1" ;;
    prom/prometheus:*) stand_in_on_base "$1" prometheus.Dockerfile ;;
    veilpost-check-rotel) receiver "$1" ;;
    postgres:*) stand_in_on_base "$1" postgres.Dockerfile ;;
    *) die "there is no stand-in for $1" ;;
    esac
}

available() { is_here "$1" || { [ "$1" != veilpost-check-rotel ] && pull "$1"; }; }

# Makes sure of all images that are named; of the base first, because the stand-ins stand on it, then of the
# others at once.
ready_images() {
    available "$base" || stand_in "$base"
    local image jobs=() job
    for image in "$@"; do
        available "$image" && continue
        stand_in "$image" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job" || die "an image cannot be built"; done
}

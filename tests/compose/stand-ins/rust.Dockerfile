# Stands in for rust:…-slim-trixie: the same paths, packages and variables around a toolchain from outside.
FROM debian:trixie-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN [ ! -e /etc/ssl/machine.crt ] || cp /etc/ssl/machine.crt /etc/ssl/certs/ca-certificates.crt
COPY toolchain /usr/local/toolchain
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/toolchain/bin:$PATH SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

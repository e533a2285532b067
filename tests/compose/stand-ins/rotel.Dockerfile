# An OTLP receiver that writes every span to its log, in Jaeger's place: the binary of the PyPI wheel `rotel`.
FROM debian:trixie-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libpython3.13 && rm -rf /var/lib/apt/lists/*
COPY rotel-agent /usr/bin/
# As Jaeger's image has it.
USER 10001
ENTRYPOINT ["rotel-agent"]

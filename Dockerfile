# Builds the relay and runs it as nobody in particular on a slim Debian.

FROM rust:1.95-slim-trixie AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin scim-relay \
 && install -D target/release/scim-relay /out/scim-relay

FROM debian:trixie-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 relay \
 && useradd --system --uid 10001 --gid relay --no-create-home --shell /usr/sbin/nologin relay \
 && install -d -o relay -g relay -m 0700 /var/lib/scim-relay
COPY --from=build /out/scim-relay /usr/local/bin/scim-relay
USER relay
WORKDIR /var/lib/scim-relay
VOLUME /var/lib/scim-relay
ENV SCIM_RELAY_CONFIG=/etc/scim-relay/relay.toml \
    SCIM_RELAY_LOG_FORMAT=json
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/readyz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["scim-relay"]
CMD ["serve"]

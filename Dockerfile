# citus-ha, as the user `node`; nothing is written below /: run it with a read-only root file system.
#   docker build -t citus-ha . && docker run --read-only --cap-drop ALL -v ./citus-ha.yaml:/etc/citus-ha/citus-ha.yaml:ro citus-ha
#   docker run --rm citus-ha status --coordinator postgres://…        any other command; in a container that runs: docker exec … citus-ha status
FROM node:24-alpine AS build
WORKDIR /src
COPY package.json npm-shrinkwrap.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json rolldown.config.js ./
COPY src ./src
RUN npm run build && chmod 755 dist/bin/citus-ha.js && npm prune --omit=dev --ignore-scripts

FROM node:24-alpine
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="citus-ha" \
      org.opencontainers.image.description="Keeps pg_dist_node true on every copy when a Citus worker's primary changes" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production
# The first process: it ends what a command of `notify` leaves behind, and passes signals on.
RUN apk add --no-cache tini && ln -s /app/dist/bin/citus-ha.js /usr/local/bin/citus-ha
WORKDIR /app
COPY package.json LICENSE README.md ./
COPY sql ./sql
COPY docs/reference ./docs/reference
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
USER 1000:1000
EXPOSE 8008
# Whether the loops turn, as for a liveness probe; of the default command.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8008/healthz"]
ENTRYPOINT ["/sbin/tini", "--", "citus-ha"]
CMD ["watch", "--config", "/etc/citus-ha/citus-ha.yaml", "--http", "0.0.0.0:8008"]

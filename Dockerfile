# citus-ha, as the user `node`; nothing is written below /: run it with a read-only root file system.
#   docker build -t citus-ha . && docker run --read-only --cap-drop ALL -v ./citus-ha.yaml:/etc/citus-ha/citus-ha.yaml:ro citus-ha
FROM node:20-alpine AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json rolldown.config.js ./
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:20-alpine
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE README.md ./
COPY sql ./sql
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
USER 1000:1000
ENTRYPOINT ["node", "/app/dist/bin/citus-ha.js"]
CMD ["watch", "--config", "/etc/citus-ha/citus-ha.yaml", "--http", "0.0.0.0:8008"]

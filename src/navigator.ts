// Node 21 has `navigator`. Without it `pg` makes a Response to find out that this is no Cloudflare Worker, for which Node
// loads all of fetch: 30 ms of a cold start, and 4 MB. The first import of the bin; a library changes no globals.
if (!('navigator' in globalThis)) {
  Object.defineProperty(globalThis, 'navigator', {
    value: { userAgent: `Node.js/${process.versions.node}` },
    configurable: true,
  })
}

export {}

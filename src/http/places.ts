import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

export interface PlacesOptions {
  /** For connections of which nobody has shown who he is. */
  readonly strangers: number
  /** For those that have: strangers can't take these. */
  readonly friends: number
}

interface Place {
  /** A request of it is with us, or was last; `performance.now()`. Bytes alone are no request. */
  heardAt: number
  friend: boolean
  /** Whether that request is not answered yet. */
  asked: boolean
  end: () => void
}

/**
 * The connections of one listener. Nobody is refused: where there is no place left, whoever holds the most of them loses the
 * one that has been without a request for longest. So connections that say nothing, dribble or are hoarded keep nobody out,
 * and whoever comes from another address is not even touched.
 */
export class Places {
  readonly #options: PlacesOptions
  /** By the peer's address and port, under which a connection and the TLS inside it are the same. */
  readonly #places = new Map<string, Place>()

  constructor(options: PlacesOptions) {
    this.#options = options
  }

  /** Gives a place to every connection from its first moment on, before TLS. */
  follow(server: Server): void {
    server.on('connection', (socket: Socket) => this.#enter(socket))
    server.on('secureConnection', (socket: TLSSocket) => {
      const place = this.#places.get(nameOf(socket))
      if (place) place.end = () => socket.destroy()
    })
  }

  /**
   * A request has come.
   * @returns whether it is to be answered: not before the last one is, since thousands that are sent at once, for which no
   * client of this world has a use, would keep everybody waiting
   */
  asks(socket: Socket): boolean {
    const place = this.#places.get(nameOf(socket))
    if (!place || place.asked) return false
    place.heardAt = performance.now()
    place.asked = true
    return true
  }

  /** Whether whoever sent it has shown who he is. */
  is(socket: Socket, who: 'friend' | 'stranger'): void {
    const place = this.#places.get(nameOf(socket))
    const friend = who === 'friend'
    if (!place || place.friend === friend) return
    place.friend = friend
    this.#makeRoom(friend, place)
  }

  /** It was answered, or will not be. */
  answered(socket: Socket): void {
    const place = this.#places.get(nameOf(socket))
    if (!place) return
    place.heardAt = performance.now()
    place.asked = false
  }

  /** Ends all. */
  close(): void {
    for (const place of this.#places.values()) place.end()
  }

  #enter(socket: Socket): void {
    const name = nameOf(socket)
    const place = { heardAt: performance.now(), friend: false, asked: false, end: () => socket.destroy() }
    this.#places.set(name, place)
    socket.once('close', () => {
      if (this.#places.get(name) === place) this.#places.delete(name)
    })
    this.#makeRoom(false, place)
  }

  #makeRoom(friend: boolean, newest: Place): void {
    const limit = friend ? this.#options.friends : this.#options.strangers
    const taken = [...this.#places].filter(([, place]) => place.friend === friend)
    if (taken.length <= limit) return
    const [name, victim] = leastMissed(taken.filter(([, place]) => place !== newest)) ?? []
    if (name === undefined) return
    this.#places.delete(name)
    victim?.end()
  }
}

/** Of whoever has the most: what waits for nothing first, and of that what was silent for longest. */
function leastMissed(places: readonly [string, Place][]): [string, Place] | undefined {
  const counts = new Map<string, number>()
  for (const [name] of places) counts.set(ownerOf(name), (counts.get(ownerOf(name)) ?? 0) + 1)
  const most = Math.max(...counts.values())
  const theirs = places.filter(([name]) => counts.get(ownerOf(name)) === most)
  return theirs.sort(([, a], [, b]) => Number(a.asked) - Number(b.asked) || a.heardAt - b.heardAt)[0]
}

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function ownerOf(name: string): string {
  return peerOf(name.split(' ')[0] ?? '')
}

/** Who counts as one at an IP address: whoever has one IPv6 address has a whole /64 of them. */
export function peerOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address
  const [head = ''] = address.split('::')
  return head.split(':').slice(0, 4).join(':')
}

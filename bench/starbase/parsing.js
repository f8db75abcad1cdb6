// What StarbaseDB does with each text besides running it: it parses it in JavaScript, and goes on when that fails.
import replica, { Database } from 'worker.js'
import sqlite from 'parser.js'

const parser = new sqlite.Parser()

export { Database }

export default {
  async fetch(request, env) {
    const { sql } = await request.clone().json()
    try {
      parser.astify(sql, { database: 'sqlite' })
    } catch {
      // As there: what it does not know is run all the same.
    }
    return replica.fetch(request, env)
  },
}

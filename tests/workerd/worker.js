// A replica for the tests: StarbaseDB's HTTP protocol, as docs/peer.md states it, on the real storage
// engine. The rules of the protocol are here; what SQL means is left to ctx.storage.sql.
import { DurableObject } from 'cloudflare:workers'

const HEADERS = { 'Content-Type': 'application/json', 'Access-Control-Allow-Origin': '*' }

const answer = (status, body) => new Response(JSON.stringify(body), { status, headers: HEADERS })
const failure = (status, error) => answer(status, { error })
const isParams = (params) => params === undefined || typeof params === 'object'

export class Database extends DurableObject {
  /** The rows of the last statement in `sql`; parameters bind to that one only. */
  async query(sql, params) {
    const cursor = params?.length ? this.ctx.storage.sql.exec(sql, ...params) : this.ctx.storage.sql.exec(sql)
    return cursor.toArray()
  }
}

/** The raw form is made from the objects, so columns of one name fall together and no rows name no columns. */
function raw(rows) {
  const columns = Object.keys(rows[0] ?? {})
  return {
    columns,
    rows: rows.map((row) => columns.map((column) => row[column])),
    meta: { rows_read: rows.length, rows_written: 0 },
  }
}

async function run(stub, { sql, params }, isRaw) {
  if (params === null) throw new TypeError("Cannot read properties of null (reading 'length')")
  const rows = await stub.query(sql, params)
  return isRaw ? raw(rows) : rows
}

/** Not a transaction: each entry is a call of its own, and those before a failing one stay. */
async function runAll(stub, transaction, isRaw) {
  const queries = transaction.map(({ sql, params }) => {
    if (typeof sql !== 'string' || !sql.trim()) throw new Error('Invalid or empty "sql" field in transaction.')
    if (!isParams(params)) {
      throw new Error('Invalid "params" field in transaction. Must be an array or object.')
    }
    return { sql, params }
  })
  const results = []
  for (const query of queries) results.push(await run(stub, query, isRaw))
  return results
}

async function handleQuery(request, stub, isRaw) {
  if (!(request.headers.get('Content-Type') ?? '').includes('application/json')) {
    return failure(400, 'Content-Type must be application/json.')
  }
  const { sql, params, transaction } = await request.json()
  if (Array.isArray(transaction) && transaction.length) {
    return answer(200, { result: await runAll(stub, transaction, isRaw) })
  }
  if (typeof sql !== 'string' || !sql.trim()) return failure(400, 'Invalid or empty "sql" field.')
  if (!isParams(params)) return failure(400, 'Invalid "params" field. Must be an array or object.')
  return answer(200, { result: await run(stub, { sql, params }, isRaw) })
}

export default {
  async fetch(request, env) {
    if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: HEADERS })
    const token = request.headers.get('Authorization')?.replace('Bearer ', '')
    if (!token) return failure(401, 'Unauthorized request')
    if (token !== env.ADMIN_TOKEN && token !== env.CLIENT_TOKEN) return failure(400, 'Unauthorized request')

    const { pathname } = new URL(request.url)
    if (request.method !== 'POST' || (pathname !== '/query' && pathname !== '/query/raw')) {
      return failure(404, 'Not found')
    }
    try {
      const stub = env.DATABASE.get(env.DATABASE.idFromName('database'))
      return await handleQuery(request, stub, pathname === '/query/raw')
    } catch (error) {
      return failure(500, error?.message || 'An unexpected error occurred.')
    }
  },
}

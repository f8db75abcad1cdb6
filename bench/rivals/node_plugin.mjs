// The way of the original plugin, in Node: after each query `fetch` to every replica, under Promise.allSettled.
// node node_plugin.mjs WRITES URL...

const WINDOW = 6 // writes under way at a time, as in drive.py
const WRITE = 'INSERT INTO users (id, name, email, score, note) VALUES (?, ?, ?, ?, ?)'
const headers = { 'Content-Type': 'application/json', Authorization: 'Bearer admin-token-of-the-tests' }
const [writes, ...urls] = process.argv.slice(2)
let failed = 0

async function replicate(sql, params) {
  const post = (url) => fetch(`${url}/query`, { method: 'POST', headers, body: JSON.stringify({ sql, params }) })
  const outcomes = await Promise.allSettled(urls.map(post))
  for (const { status, value } of outcomes) {
    if (status === 'rejected' || !value.ok) failed += 1
    else await value.text()
  }
}

async function deliver(first, last) {
  let next = first
  const one = async () => {
    while (next < last) await replicate(WRITE, [next++, 'Ada Lovelace', 'ada@example.com', 1.5, null])
  }
  await Promise.all(Array.from({ length: WINDOW }, one))
}

await deliver(-10, 0)
const begin = performance.now()
const before = process.cpuUsage()
await deliver(0, Number(writes))
const seconds = (performance.now() - begin) / 1000
const { user, system } = process.cpuUsage(before)
console.log(JSON.stringify({ writes: Number(writes), failed, seconds, process_seconds: (user + system) / 1e6 }))

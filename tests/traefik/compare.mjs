// compare.mjs TRAEFIK PORTCULLIS: asks both programs the same, with one dynamic file, and compares what the client got
// and what the service received. Exits with 1 when they differ in what is not known.
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { known, requests } from "./requests.mjs"

const SOON = 10_000
const ENTRY_POINTS = {
  web: "",
  raw: "    http: {sanitizePath: false}\n",
  trusting: "    forwardedHeaders: {trustedIPs: [127.0.0.0/8]}\n",
}
// What is different in every answer.
const VOLATILE = new Set(["date", "x-request-id"])
// The words of the programs' own answers, which nobody relies on.
const WORDS = new Set(["content-type", "content-length", "x-content-type-options"])

/** A listener on a free port of loopback. */
const listen = handler => new Promise(resolve => {
  const server = createServer(handler)
  server.listen(0, "127.0.0.1", () => resolve({ server, port: server.address().port }))
})

async function freePort() {
  const { server, port } = await listen(() => {})
  await new Promise(resolve => server.close(resolve))
  return port
}

/** Head and body of a message with a length or chunks; undefined while it is incomplete. */
function message(text) {
  const end = text.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const [start, ...fields] = text.slice(0, end).split("\r\n")
  const headers = fields.map(field => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()])
  return { start, headers, body: text.slice(end + 4) }
}

const isComplete = ({ headers, body }) => headers.every(([name, value]) => {
  if (/^content-length$/i.test(name)) return body.length >= Number(value)
  return !/^transfer-encoding$/i.test(name) || body.endsWith("0\r\n\r\n")
})

/** A service that keeps what it received and answers as the path says. */
async function startOrigin() {
  const seen = []
  const { server, port } = await listen(socket => {
    let text = ""
    socket.on("error", () => {})
    socket.on("data", data => {
      text += data.toString("latin1")
      const request = message(text)
      if (!request || !isComplete(request)) return
      text = ""
      seen.push(request)
      const status = /\/status\/(\d+)/.exec(request.start)?.[1] ?? "200"
      const body = /^(204|304)$/.test(status) ? "" : "Content-Length: 2\r\n"
      const rest = body && !request.start.startsWith("HEAD ") ? "ok" : ""
      socket.write(`HTTP/1.1 ${status} Status\r\nX-Origin: yes\r\nContent-Type: text/plain\r\n${body}\r\n${rest}`)
    })
  })
  return { server, port, take: () => seen.splice(0) }
}

/** One of the programs, running. */
async function start(program, folder, originPort) {
  const ports = {}
  let config = "entryPoints:\n"
  for (const [name, options] of Object.entries(ENTRY_POINTS)) {
    ports[name] = await freePort()
    config += `  ${name}:\n    address: "127.0.0.1:${ports[name]}"\n${options}`
  }
  const dynamic = readFileSync(new URL("dynamic.yml", import.meta.url), "utf8")
  writeFileSync(join(folder, "dynamic.yml"), dynamic.replaceAll("ORIGIN", `127.0.0.1:${originPort}`))
  config += `providers:\n  file: {filename: "${join(folder, "dynamic.yml")}"}\n`
  writeFileSync(join(folder, "static.yml"), config)
  const env = { PATH: process.env.PATH, HOME: folder, STATE_DIRECTORY: folder }
  const child = spawn(program, [`--configFile=${join(folder, "static.yml")}`], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] })
  let log = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", data => { log += data })
  const deadline = Date.now() + SOON
  // It listens before it has read its routing.
  for (;;) {
    const answer = await ask(ports.web, "GET / HTTP/1.1\r\nHost: host.test\r\nConnection: close\r\n\r\n").catch(() => undefined)
    if (answer?.start.includes(" 200 ")) break
    if (Date.now() > deadline || child.exitCode !== null) throw new Error(`${program} does not start:\n${log}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  return { program, ports, stop: () => child.kill() }
}

/** Sends bytes, returns the answer when the connection has ended. */
const ask = (port, request) => new Promise((resolve, reject) => {
  let text = ""
  const socket = connect(port, "127.0.0.1", () => socket.write(request, "latin1"))
  socket.setTimeout(SOON, () => socket.destroy(new Error("no end in time")))
  socket.on("data", data => { text += data.toString("latin1") })
  socket.on("error", error => (text ? resolve(finish(text)) : reject(error)))
  socket.on("close", () => resolve(finish(text)))
})

function finish(text) {
  const answer = message(text)
  // An interim answer comes first.
  if (answer && / 100 /.test(answer.start.slice(0, 14))) return { ...finish(answer.body), interim: true }
  return answer ?? { start: text ? `broken: ${text}` : "closed without an answer", headers: [], body: "" }
}

/** What of a message is compared: names in lower case, sorted, without what is always different. */
function comparable(found, ports) {
  if (!found) return undefined
  const clean = value => Object.values(ports).reduce((text, port) => text.replaceAll(String(port), "PORT"), value)
  const headers = found.headers
    .map(([name, value]) => [name.toLowerCase(), clean(value)])
    .filter(([name]) => !VOLATILE.has(name))
    .map(([name, value]) => `${name}: ${value}`)
    .sort()
  return { start: found.start, headers, body: found.body }
}

async function outcome(program, origin, [, request, entry = "web"]) {
  origin.take()
  let answer
  try { answer = await ask(program.ports[entry], request) } catch (error) { answer = { start: `no answer: ${error.code ?? error.message}`, headers: [], body: "" } }
  const status = answer.start.replace(/^HTTP\/1\.[01] (\d+).*/, "$1")
  const received = origin.take().map(seen => comparable(seen, program.ports))
  const compared = { ...comparable(answer, program.ports), start: status }
  if (received.length === 0) {
    compared.headers = compared.headers.filter(header => !WORDS.has(header.split(":")[0]))
    compared.body = ""
  }
  return { answer: compared, received }
}

function differences(theirs, ours) {
  const flat = ({ answer, received }) => [
    `status ${answer.start}`,
    ...answer.headers.map(header => `answer ${header}`),
    `answer body ${JSON.stringify(answer.body)}`,
    ...received.flatMap(seen => [`received ${seen.start}`, ...seen.headers.map(header => `received ${header}`), `received body ${JSON.stringify(seen.body)}`]),
  ]
  const [a, b] = [flat(theirs), flat(ours)]
  return [...a.filter(line => !b.includes(line)).map(line => `  traefik:    ${line}`),
    ...b.filter(line => !a.includes(line)).map(line => `  portcullis: ${line}`)]
}

const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), "portcullis-traefik-")))
const origin = await startOrigin()
const programs = []
let differing = 0
let documented = 0
try {
  for (const [index, program] of process.argv.slice(2, 4).entries()) programs.push(await start(program, folders[index], origin.port))
  for (const request of requests) {
    const [theirs, ours] = [await outcome(programs[0], origin, request), await outcome(programs[1], origin, request)]
    const found = differences(theirs, ours)
    const [why, expected] = known[request[0]] ?? []
    if (found.length === 0 && !why) continue
    if (found.length > 0 && why && found.every(line => expected.test(line))) { documented += 1; continue }
    differing += 1
    console.log(found.length > 0 ? `${request[0]}\n${found.join("\n")}` : `${request[0]}: no longer differs (${why})`)
  }
} finally {
  programs.forEach(program => program.stop())
  origin.server.close()
  folders.forEach(folder => rmSync(folder, { recursive: true, force: true }))
}
console.log(`${requests.length} requests: ${requests.length - differing - documented} equal, ${documented} differ on purpose, ${differing} differ`)
process.exit(differing === 0 ? 0 : 1)

// What the browser tests are written with: free ports, child processes, a service to log in to, Chromium.
import { spawn } from 'node:child_process';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

export const binary = process.env.PORTCULLIS
  ?? new URL('../../target/debug/portcullis', import.meta.url).pathname;

const MOST_MS = 60_000;

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// Asks again until `check` gives something true, and gives that back.
export async function until(what, check) {
  const end = Date.now() + MOST_MS;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > end) throw new Error(`not in ${MOST_MS} ms: ${what}`);
    await sleep(50);
  }
}

// The binary with these arguments. `output` is all that it printed.
export function start(args, env = {}) {
  const child = spawn(binary, args, { env: { PATH: process.env.PATH, HOME: env.HOME, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const program = { output: '', ended: new Promise((resolve) => child.once('close', resolve)) };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { program.output += text; });
  program.exited = () => child.exitCode !== null || child.signalCode !== null;
  program.pid = child.pid;
  program.stop = async (signal = 'SIGINT') => {
    if (!program.exited()) child.kill(signal);
    await program.ended;
    return child.exitCode;
  };
  program.ready = (url) => until(`${url} answers`, async () => {
    if (program.exited()) throw new Error(`the program ended:\n${program.output}`);
    return fetch(url).then((response) => response.ok, () => false);
  });
  return program;
}

// A service that shows its caller's name.
export async function service() {
  const server = createHttpServer((request, response) => {
    const user = request.headers['x-forwarded-user'];
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(`<!doctype html><title>service</title><h1>Hello, ${user ?? 'stranger'}</h1><p id="target">${
      request.url.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</p>
      <form method="post" action="/oauth2/logout"><button>Sign out</button></form>`);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
      // A provider's certificate is of certificates.sh. It is the edge that must know its authority.
      '--ignore-certificate-errors'],
  });
}

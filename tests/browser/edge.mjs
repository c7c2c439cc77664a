// The real binary with a login in front of a service, configured as a Traefik user has it.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, service, start } from './harness.mjs';

// A folder that is gone after the test.
export async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), 'portcullis-browser-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

// A certificate for localhost, its key, and the authority that nobody knows.
export async function certificates(t) {
  const path = await folder(t);
  await promisify(execFile)(new URL('certificates.sh', import.meta.url).pathname, [path]);
  const [ca, cert, key] = await Promise.all(['ca', 'cert', 'key'].map((name) => readFile(join(path, `${name}.pem`), 'utf8')));
  return { ca, cert, key };
}

// The lines of the plugin block that make `ca` known.
export const caCertPEM = (ca) => ['caCertPEM: |', ...ca.trim().split('\n').map((line) => `  ${line}`)];

// Where an edge will be, before the provider knows its client.
export async function place() {
  const [port, admin] = await Promise.all([freePort(), freePort()]);
  return { port, admin, origin: `http://localhost:${port}` };
}

// Starts it at `where`; `client` is { id, secret }, or none where it registers itself; `options` are further lines of the
// plugin block.
export async function edge(t, { where, issuer, client, options = [] }) {
  const home = await folder(t);
  const backend = await service();
  t.after(() => backend.stop());
  const block = [
    `providerURL: ${issuer}`,
    ...(client ? [`clientID: ${client.id}`, `clientSecret: ${JSON.stringify(client.secret)}`] : []),
    'sessionEncryptionKey: only-for-tests-0123456789abcdef-0123456789', 'callbackURL: /oauth2/callback',
    'logoutURL: /oauth2/logout', 'postLogoutRedirectURI: /public/bye', 'excludedURLs: [/public]', 'forceHTTPS: false',
    'allowPrivateIPAddresses: true', 'refreshGracePeriodSeconds: 2', ...options,
  ];
  await writeFile(join(home, 'dynamic.yml'), `
http:
  routers:
    all: {rule: PathPrefix(\`/\`), service: backend, middlewares: [login]}
  services:
    backend: {loadBalancer: {servers: [{url: "${backend.url}"}]}}
  middlewares:
    login:
      plugin:
        traefikoidc:
${block.map((line) => `          ${line}`).join('\n')}
`);
  await writeFile(join(home, 'static.yml'), `
entryPoints:
  web: {address: "127.0.0.1:${where.port}"}
  traefik: {address: "127.0.0.1:${where.admin}"}
ping: {}
metrics: {prometheus: {}}
providers:
  file: {filename: "${join(home, 'dynamic.yml')}"}
log: {level: INFO}
`);

  let proxy;
  const launch = async () => {
    const program = start([`--configFile=${join(home, 'static.yml')}`], { HOME: home, STATE_DIRECTORY: home });
    t.after(async () => {
      await program.stop('SIGKILL');
      if (!t.passed) console.log(`--- what the edge said\n${program.output}`);
    });
    await program.ready(`http://127.0.0.1:${where.admin}/readyz`);
    proxy = program;
  };
  await launch();
  return {
    at: (path) => `${where.origin}${path}`,
    // No chance to tidy up: what a login hangs on must be on disk already.
    async restart() {
      await proxy.stop('SIGKILL');
      await launch();
    },
    async metric(name, label) {
      const text = await (await fetch(`http://127.0.0.1:${where.admin}/metrics`)).text();
      const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(label));
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    },
  };
}

// Chromium logs in through the real binary: at the demo, and at a provider that knows nothing of Portcullis.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { freePort, launch, service, start } from './harness.mjs';
import { journey } from './journey.mjs';
import { startProvider } from './op.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), 'portcullis-browser-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('the demo', async (t) => {
  const home = await folder(t);
  const [port, admin, provider, echo] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const startDemo = async () => {
    const program = start(['demo', `--port=${port}`, `--admin-port=${admin}`, `--provider-port=${provider}`,
      `--echo-port=${echo}`, '--access-token-seconds=13', `--folder=${home}/demo`], { HOME: home, STATE_DIRECTORY: home });
    t.after(() => program.stop('SIGKILL'));
    await program.ready(`http://127.0.0.1:${admin}/readyz`);
    assert.match(program.output, new RegExp(`http://localhost:${port}`));
    return program;
  };
  let demo = await startDemo();
  let told = '';

  await journey(t, {
    browser,
    at: (path) => `http://localhost:${port}${path}`,
    logIn: (page) => page.getByRole('button', { name: /Alice/ }).click(),
    user: 'alice@example.test',
    refreshes: () => (told + demo.output).split('refresh  alice').length - 1,
    async restart() {
      assert.equal(await demo.stop('SIGINT'), 0, 'Ctrl-C ends it cleanly');
      told = demo.output;
      demo = await startDemo();
    },
  });

  await t.test('its console told the story', () => {
    told += demo.output;
    for (const line of ['login    alice', 'refresh  alice', 'logout   alice']) assert.ok(told.includes(line), told);
  });
});

test('oidc-provider', async (t) => {
  const home = await folder(t);
  const [port, admin, opPort] = await Promise.all([freePort(), freePort(), freePort()]);
  const edge = `http://localhost:${port}`;
  const client = {
    client_id: 'portcullis',
    client_secret: 'only for tests, with a space and a + and a %',
    redirect_uris: [`${edge}/oauth2/callback`],
    post_logout_redirect_uris: [`${edge}/public/bye`, `${edge}/oauth2/logout`, `${edge}/oauth2/callback`],
    token_endpoint_auth_method: 'client_secret_basic',
  };
  const op = await startProvider({ port: opPort, client, accessTokenSeconds: 6 });
  t.after(() => op.stop());
  const backend = await service();
  t.after(() => backend.stop());

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
          providerURL: ${op.issuer}
          clientID: ${client.client_id}
          clientSecret: "${client.client_secret}"
          clientAuthMethod: client_secret_basic
          sessionEncryptionKey: only-for-tests-0123456789abcdef-0123456789
          callbackURL: /oauth2/callback
          logoutURL: /oauth2/logout
          postLogoutRedirectURI: /public/bye
          excludedURLs: [/public]
          forceHTTPS: false
          allowPrivateIPAddresses: true
          refreshGracePeriodSeconds: 2
`);
  await writeFile(join(home, 'static.yml'), `
entryPoints:
  web: {address: "127.0.0.1:${port}"}
  traefik: {address: "127.0.0.1:${admin}"}
ping: {}
providers:
  file: {filename: "${join(home, 'dynamic.yml')}"}
log: {level: INFO}
`);
  let proxy;
  const startProxy = async () => {
    proxy = start([`--configFile=${join(home, 'static.yml')}`], { HOME: home, STATE_DIRECTORY: home });
    const { stop } = proxy;
    t.after(() => stop('SIGKILL'));
    await proxy.ready(`http://127.0.0.1:${admin}/readyz`);
  };
  await startProxy();

  await journey(t, {
    browser,
    at: (path) => `${edge}${path}`,
    async logIn(page) {
      await page.getByLabel('Name').fill('alice');
      await page.getByRole('button', { name: 'Sign in' }).click();
    },
    user: 'alice@example.test',
    refreshes: () => op.grants.refresh_token ?? 0,
    async restart() {
      await proxy.stop('SIGKILL');
      await startProxy();
    },
    confirmLogout: (page) => page.getByRole('button', { name: 'Yes, sign me out' }).click(),
  });
});

// Chromium logs in through the real binary: at the demo, and at a provider that knows nothing of Portcullis.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { caCertPEM, certificates, edge, folder, place } from './edge.mjs';
import { freePort, launch, start } from './harness.mjs';
import { journey } from './journey.mjs';
import { startProvider } from './op.mjs';
import { providerSide, providerSideOptions } from './provider_side.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

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

const client = { id: 'portcullis', secret: 'only for tests, with a space and a + and a %' };

// oidc-provider that knows `client` at `where`.
async function providerAt(t, where, more = {}) {
  const op = await startProvider({
    port: await freePort(),
    accessTokenSeconds: 6,
    client: {
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: [`${where.origin}/oauth2/callback`],
      post_logout_redirect_uris: ['/public/bye', '/oauth2/logout', '/oauth2/callback'].map((path) => where.origin + path),
      backchannel_logout_uri: `${where.origin}/oauth2/backchannel`,
      token_endpoint_auth_method: 'client_secret_basic',
    },
    ...more,
  });
  t.after(() => op.stop());
  return op;
}

const logIn = async (page) => {
  await page.getByLabel('Name').fill('alice');
  await page.getByRole('button', { name: 'Sign in' }).click();
};

const confirmLogout = (page) => page.getByRole('button', { name: 'Yes, sign me out' }).click();

// The journey at `op`.
const journeyAt = (t, op, { at, restart }) => journey(t, {
  browser, at, restart, logIn, confirmLogout, user: 'alice@example.test', refreshes: () => op.grants.refresh_token ?? 0,
});

const clientBasic = 'clientAuthMethod: client_secret_basic';

test('oidc-provider', async (t) => {
  const where = await place();
  const op = await providerAt(t, where);
  await journeyAt(t, op, await edge(t, { where, client, issuer: op.issuer, options: [clientBasic] }));
});

test('oidc-provider over https, of an authority that only the configuration knows', async (t) => {
  const where = await place();
  const tls = await certificates(t);
  const op = await providerAt(t, where, { tls });
  await journeyAt(t, op, await edge(t, { where, client, issuer: op.issuer, options: [clientBasic, ...caCertPEM(tls.ca)] }));
});

test('what happens at oidc-provider', async (t) => {
  const where = await place();
  const op = await providerAt(t, where);
  const { at, metric } = await edge(t, {
    where, client, issuer: op.issuer, options: [clientBasic, ...providerSideOptions('dev')],
  });
  await providerSide(t, {
    browser,
    at,
    metric,
    logIn,
    group: { leave: () => op.groups.delete('dev'), join: () => op.groups.add('dev') },
    async endSession(context) {
      const page = await context.newPage();
      await page.goto(`${op.issuer}/session/end`);
      await confirmLogout(page);
      await page.waitForURL((url) => url.pathname === '/session/end/success');
      await page.close();
    },
  });
});

test('oidc-provider, at which the client registers itself', async (t) => {
  const where = await place();
  const op = await startProvider({ port: await freePort(), accessTokenSeconds: 6, registration: 'only-for-tests' });
  t.after(() => op.stop());
  await journeyAt(t, op, await edge(t, {
    where,
    issuer: op.issuer,
    options: [
      'dynamicClientRegistration:', '  enabled: true', '  initialAccessToken: only-for-tests', '  clientMetadata:',
      `    redirect_uris: ["${where.origin}/oauth2/callback"]`,
    ],
  }));
  assert.equal(op.registered.length, 1, 'the restart has found the client');
});

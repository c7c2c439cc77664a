// Chromium logs in at the Keycloak that run.sh has started (ISSUER; TLS_ISSUER of the authority CA), through the real
// binary.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { caCertPEM, edge, place } from '../browser/edge.mjs';
import { launch, until } from '../browser/harness.mjs';
import { journey } from '../browser/journey.mjs';
import { providerSide, providerSideOptions } from '../browser/provider_side.mjs';
import { deleteOfflineSessions, logOut, membership, tellLogoutsAt } from './admin.mjs';

const issuer = process.env.ISSUER;
const client = { id: 'portcullis', secret: 'only-for-tests' };

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

const logInAs = (name) => async (page) => {
  await page.locator('#username').fill(name);
  await page.locator('#password').fill(name);
  await page.locator('#kc-login').click();
};

// The journey at the edge `{ at, restart, metric }`.
const journeyAt = (t, { at, restart, metric }) => journey(t, {
  browser,
  at,
  restart,
  logIn: logInAs('alice'),
  // Right after a login of the same user Keycloak may say that the password is wrong; then once more.
  logInAgain: (tab) => until('the second tab is logged in', async () => {
    if (tab.url().startsWith(at('/'))) return true;
    await logInAs('alice')(tab);
    return tab.url().startsWith(at('/'));
  }),
  // Of two first requests at once of one browser, Keycloak forgets one.
  startTogether: false,
  // When another tab's login makes Keycloak begin this one anew, it answers that tab's request once more, which leads to
  // that tab's page; where this tab wanted to go is lost at Keycloak.
  secondArrival: (url) => [at('/one?x=1'), at('/two')].includes(url.href),
  user: 'alice@example.test',
  refreshes: () => metric('portcullis_oidc_refreshes_total', 'outcome="renewed"'),
});

test('Keycloak', async (t) => {
  await journeyAt(t, await edge(t, { where: await place(), issuer, client }));
});

test('Keycloak over https, of an authority that only the configuration knows', async (t) => {
  const options = caCertPEM(await readFile(process.env.CA, 'utf8'));
  await journeyAt(t, await edge(t, { where: await place(), issuer: process.env.TLS_ISSUER, client, options }));
});

// At Keycloak a logout ends the sessions of the browser, but not those for offline access, which the plugin asks for by
// default.
for (const [kind, scopes, endSession] of [
  ['a session', ['overrideScopes: true', 'scopes: [profile, email]'], logOut],
  ['an offline session', [], deleteOfflineSessions],
]) {
  test(`what happens at Keycloak to a user with ${kind}`, async (t) => {
    const { at, metric } = await edge(t, { where: await place(), issuer, client, options: [...providerSideOptions('/ops'), ...scopes] });
    await tellLogoutsAt(at('/oauth2/backchannel'));
    await providerSide(t, {
      browser,
      at,
      metric,
      logIn: logInAs('alice'),
      group: { leave: () => membership('DELETE', 'alice', 'ops'), join: () => membership('PUT', 'alice', 'ops') },
      endSession: () => endSession('alice'),
    });
  });
}

test('groups and roles of Keycloak decide', async (t) => {
  const { at } = await edge(t, {
    where: await place(), issuer, client, options: ['allowedRolesAndGroups: [admin, /dev/backend]', 'userIdentifierClaim: preferred_username'],
  });
  for (const [name, status] of [['alice', 200], ['nomail', 403]]) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(at('/page'));
    await logInAs(name)(page);
    await page.waitForURL((url) => url.href.startsWith(at('/')));
    const answer = await page.goto(at('/page'));
    assert.equal(answer.status(), status, name);
    if (status === 200) assert.equal(await page.locator('h1').innerText(), 'Hello, alice');
    await context.close();
  }
});

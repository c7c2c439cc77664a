// Chromium logs in at the Keycloak that run.sh has started (ISSUER), through the real binary.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { edge, place } from '../browser/edge.mjs';
import { launch, until } from '../browser/harness.mjs';
import { journey } from '../browser/journey.mjs';

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

test('Keycloak', async (t) => {
  const { at, restart, metric } = await edge(t, { where: await place(), issuer, client });
  await journey(t, {
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
    // When another tab's login makes Keycloak begin this one anew, it answers that tab's request once more: the user is
    // logged in, and where this tab wanted to go is lost at Keycloak.
    secondArrival: (url) => [at('/one?x=1'), at('/')].includes(url.href),
    user: 'alice@example.test',
    refreshes: () => metric('portcullis_oidc_refreshes_total', 'outcome="renewed"'),
  });
});

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

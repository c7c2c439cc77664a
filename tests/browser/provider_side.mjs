// What happens at the provider, and what the edge makes of it; the same at every provider.
import assert from 'node:assert/strict';
import { until } from './harness.mjs';

// Lines of the plugin block that this needs; only members of `group` may pass.
export const providerSideOptions = (group) => [
  `allowedRolesAndGroups: [${group}]`, 'sessionEndpoints: auto', 'enableBackchannelLogout: true',
  'backchannelLogoutURL: /oauth2/backchannel',
];

// `at`, `metric` are the edge's; `logIn(page)` answers the provider's page; `group.leave()` and `group.join()` change what
// the provider says of the user; `endSession(context)` logs the user out at the provider.
export async function providerSide(t, { browser, at, metric, logIn, group, endSession }) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const renewed = () => metric('portcullis_oidc_refreshes_total', 'outcome="renewed"');

  await page.goto(at('/page'));
  await logIn(page);
  await page.waitForURL(at('/page'));

  // A provider that gives each refresh token for one use ends the session of whoever comes with it again.
  await t.test('no refresh token is used twice', async () => {
    for (let round = 0; round < 3; round += 1) {
      await until('the end of the tokens', () => page.evaluate(async () => {
        const { tokensExpire } = await (await fetch('/oauth2/session')).json();
        return Date.parse(tokensExpire) <= Date.now();
      }));
      const before = await renewed();
      const answers = await page.evaluate(() => Promise.all(Array.from({ length: 40 }, async (_, n) => {
        const response = await fetch(`/burst/${n}`);
        return response.status;
      })));
      assert.deepEqual(new Set(answers), new Set([200]));
      assert.equal(await renewed(), before + 1);
    }
  });

  await t.test('who leaves the group is refused after one refresh', async () => {
    await group.leave();
    const before = await renewed();
    let answer;
    await until('the edge has heard of it', async () => {
      answer = await page.goto(at('/page'));
      return answer.status() === 403;
    });
    assert.equal(await renewed(), before + 1);
    assert.match(await page.locator('body').innerText(), /alice/);
  });

  await t.test('who joins it again passes after the next, without a login', async () => {
    await group.join();
    await until('the edge has heard of it', async () => (await page.goto(at('/page'))).status() === 200);
  });

  await t.test('a logout there ends the session here', async () => {
    await endSession(context);
    await until('the session is over', async () => {
      const response = await context.request.get(at('/oauth2/session'));
      return response.status() === 401;
    });
    await page.goto(at('/page'));
    assert.notEqual(new URL(page.url()).origin, new URL(at('/')).origin);
    // It was told so, once or for each session that the user had; no refresh found out.
    assert.ok(await metric('portcullis_oidc_logouts_total', 'kind="back_channel"') > 0);
  });
}

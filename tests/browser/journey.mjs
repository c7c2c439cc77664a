// The way of a visitor, the same at every provider.
import assert from 'node:assert/strict';
import { until } from './harness.mjs';

// `at(path)` is an address at the edge; `logIn(page)` answers the provider's page; `refreshes()` counts refreshes;
// `logInAgain(page)` does so in a tab whose neighbour has logged in meanwhile;
// `restart()` ends the edge and starts it again; `confirmLogout(page)` answers what the provider asks at the end, if it asks.
export async function journey(t, {
  browser, at, logIn, logInAgain = logIn, user, refreshes, restart, confirmLogout = async () => {},
  startTogether = true, secondArrival = at('/one?x=1'),
}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const cookiesOfEdge = async () => (await context.cookies(at('/'))).map(({ name }) => name);
  const heading = (tab) => tab.locator('h1').innerText();

  await t.test('a deep link survives the login', async () => {
    await page.goto(at('/deep/link?a=1&b=%2F'));
    await logIn(page);
    await page.waitForURL(at('/deep/link?a=1&b=%2F'));
    assert.equal(await heading(page), `Hello, ${user}`);
  });

  await t.test('the cookie is out of reach of scripts and says nothing', async () => {
    const cookies = await context.cookies(at('/'));
    assert.ok(cookies.length > 0);
    for (const cookie of cookies) {
      assert.ok(cookie.httpOnly, cookie.name);
      assert.equal(cookie.sameSite, 'Lax');
      assert.ok(!cookie.value.includes('eyJ'), 'a token in a cookie');
    }
    assert.equal(await page.evaluate(() => document.cookie), '');
  });

  await t.test('a script without a session is told 401, not led away', async () => {
    const stranger = await browser.newContext();
    const tab = await stranger.newPage();
    await tab.goto(at('/public/page'));
    assert.equal(await heading(tab), 'Hello, stranger');
    const answer = await tab.evaluate(async () => {
      const response = await fetch('/private', { redirect: 'manual' });
      return { status: response.status, json: await response.json() };
    });
    assert.equal(answer.status, 401);
    assert.equal(answer.json.status_code, 401);
    await stranger.close();
  });

  await t.test('two tabs that log in at once both arrive', async () => {
    const fresh = await browser.newContext();
    const tabs = await Promise.all([fresh.newPage(), fresh.newPage()]);
    const first = tabs[0].goto(at('/one?x=1'));
    if (!startTogether) await first;
    await Promise.all([first, tabs[1].goto(at('/two'))]);
    await logIn(tabs[1]);
    await tabs[1].waitForURL(at('/two'));
    await logInAgain(tabs[0]);
    await tabs[0].waitForURL(secondArrival);
    for (const tab of tabs) assert.equal(await heading(tab), `Hello, ${user}`);
    await fresh.close();
  });

  await t.test('a refresh is not noticed', async () => {
    const before = await refreshes();
    const names = await cookiesOfEdge();
    await until('a refresh', async () => {
      await page.goto(at('/again'));
      assert.equal(page.url(), at('/again'));
      assert.equal(await heading(page), `Hello, ${user}`);
      return await refreshes() > before;
    });
    assert.deepEqual(await cookiesOfEdge(), names);
  });

  await t.test('a restart is not noticed', async () => {
    await restart();
    await page.goto(at('/after/the/restart'));
    assert.equal(page.url(), at('/after/the/restart'));
    assert.equal(await heading(page), `Hello, ${user}`);
  });

  await t.test('the back button leads back', async () => {
    await page.goto(at('/first'));
    await page.goto(at('/second'));
    await page.goBack();
    assert.equal(page.url(), at('/first'));
  });

  await t.test('signing out ends it here and at the provider', async () => {
    await page.getByRole('button', { name: 'Sign out' }).click();
    await confirmLogout(page);
    await page.waitForURL((url) => url.origin === new URL(at('/')).origin && url.pathname.startsWith('/public'));
    assert.equal(await heading(page), 'Hello, stranger');
    assert.deepEqual(await cookiesOfEdge(), []);
    await page.goto(at('/private'));
    assert.notEqual(new URL(page.url()).origin, new URL(at('/')).origin);
  });
}

// A certified OpenID provider (npm oidc-provider) on loopback, everything in memory. Whoever gives a name is in.
// It shares nothing with Portcullis: what works here is not two mistakes that agree.
import { generateKeyPairSync } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { Provider } from 'oidc-provider';

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>${body}</html>`;

const form = page('Sign in', `<h1>Sign in</h1><form method="post"><label>Name <input name="login" autofocus></label>
  <button type="submit">Sign in</button></form>`);

const claimsOf = (name, groups) => ({
  sub: name, name, email: `${name}@example.test`, email_verified: true, groups, roles: ['user'],
});

// Consent is given without asking, as for an application of one's own.
async function grantOf({ oidc }) {
  const known = oidc.session.grantIdFor(oidc.client.clientId);
  if (known) return oidc.provider.Grant.find(known);
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope('openid profile email offline_access');
  await grant.save();
  return grant;
}

async function readForm(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

// Starts it for one client, or for clients that register themselves with the token `registration`; with `tls` ({ cert,
// key }) it speaks https. `grants` counts the successful ones by type, `registered` has the clients, `groups` everybody's.
export async function startProvider({ port, client, registration, accessTokenSeconds, tls }) {
  const issuer = tls ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
  const groups = new Set(['dev']);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    clients: client ? [{ grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], ...client }] : [],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'RS256' }] },
    cookies: { keys: ['only for tests'] },
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['name', 'groups', 'roles'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, name) => ({ accountId: name, claims: () => claimsOf(name, [...groups]) }),
    loadExistingGrant: grantOf,
    issueRefreshToken: () => true,
    rotateRefreshToken: () => true,
    interactions: { url: (_ctx, interaction) => `/login/${interaction.uid}` },
    // Its own way to fetch refuses loopback by the dispatcher.
    fetch: (url, { dispatcher: _guard, ...options }) => fetch(url, options),
    ttl: { AccessToken: accessTokenSeconds, IdToken: accessTokenSeconds, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      ...(registration && { registration: { enabled: true, initialAccessToken: registration } }),
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, logoutForm) {
          const yes = '<input type="hidden" name="logout" value="yes"><button type="submit">Yes, sign me out</button></form>';
          ctx.body = page('Sign out', logoutForm.replace('</form>', yes));
        },
      },
    },
  });

  const grants = {};
  provider.on('grant.success', ({ oidc }) => {
    const type = oidc.params.grant_type;
    grants[type] = (grants[type] ?? 0) + 1;
  });
  const registered = [];
  provider.on('registration_create.success', (_ctx, { clientId }) => registered.push(clientId));
  provider.on('server_error', (_ctx, error) => console.error(error));

  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/login/')) return next();
    if (ctx.method !== 'POST') {
      ctx.body = form;
      return undefined;
    }
    const accountId = (await readForm(ctx.req)).get('login');
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, { login: { accountId } }));
    return undefined;
  });

  const server = tls ? createHttpsServer(tls, provider.callback()) : createHttpServer(provider.callback());
  server.listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return { issuer, grants, registered, groups, stop: () => { server.closeAllConnections(); server.close(); } };
}

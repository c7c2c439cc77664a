// What an administrator of Keycloak does, by its REST API.
const at = new URL(process.env.ISSUER);
const realm = at.href.replace('/realms/', '/admin/realms/');

async function token() {
  const form = { grant_type: 'password', client_id: 'admin-cli', username: 'admin', password: 'admin' };
  const response = await fetch(`${at.origin}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: new URLSearchParams(form) });
  return (await response.json()).access_token;
}

async function call(method, path, body) {
  const response = await fetch(`${realm}/${path}`, {
    method,
    headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? undefined : response.json();
}

const userId = async (name) => (await call('GET', `users?exact=true&username=${name}`))[0].id;

// Takes the user out of the group, or puts her in (method PUT).
export async function membership(method, user, group) {
  const { id } = await call('GET', `group-by-path/${group}`);
  await call(method, `users/${await userId(user)}/groups/${id}`);
}

export async function logOut(user) {
  await call('POST', `users/${await userId(user)}/logout`);
}

// Offline sessions (scope offline_access) outlive that.
export async function deleteOfflineSessions(user) {
  const [client] = await call('GET', 'clients?clientId=portcullis');
  const sessions = await call('GET', `users/${await userId(user)}/offline-sessions/${client.id}`);
  for (const { id } of sessions) await call('DELETE', `sessions/${id}?isOffline=true`);
}

// Where the client hears of logouts.
export async function tellLogoutsAt(url) {
  const [client] = await call('GET', 'clients?clientId=portcullis');
  const attributes = { ...client.attributes, 'backchannel.logout.url': url, 'backchannel.logout.session.required': 'true' };
  await call('PUT', `clients/${client.id}`, { ...client, attributes });
}

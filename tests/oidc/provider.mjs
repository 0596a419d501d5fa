// The OpenID Connect provider that the tests of this folder ask: npm's `oidc-provider`, a certified
// one. What it needs is in the file that the first argument names; it is installed where the second says.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const wanted = JSON.parse(readFileSync(process.argv[2]));
const { default: Provider } = await import(`${process.argv[3]}/node_modules/oidc-provider/lib/index.js`);

// A provider whose clock is slow gives tokens that are over by everybody else's.
const now = Date.now;
Date.now = () => now() - wanted.slowSeconds * 1000;

const provider = new Provider(wanted.issuer, {
  jwks: { keys: wanted.keys },
  clients: wanted.clients,
  clientAuthMethods: ['client_secret_basic', 'none'],
  claims: { openid: ['sub'], groups: ['groups'], profile: ['name'] },
  cookies: { keys: ['of the tests alone'] },
  extraTokenClaims: (_, token) => ({ groups: wanted.groups[token.clientId] }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, audience, client) => ({
        audience,
        scope: 'use',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: client.idTokenSignedResponseAlg } },
      }),
    },
  },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: wanted.groups[id] }),
  }),
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  // Nobody is asked whether the page may know who they are.
  loadExistingGrant: async ({ oidc }) => {
    const grant = new provider.Grant({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile groups');
    await grant.save();
    return grant;
  },
  ttl: {
    AccessToken: 600,
    ClientCredentials: 600,
    Grant: 600,
    IdToken: 600,
    Interaction: 600,
    Session: 600,
  },
});

const FORM = `<!doctype html><html lang="en"><title>Who are you?</title>
<form method="post"><label>Name <input name="name"></label>
<button>Go on</button><button name="refuse" value="1">Refuse</button></form></html>`;

async function interact(request, response) {
  if (request.method === 'GET') {
    response.setHeader('Content-Type', 'text/html').end(FORM);
    return;
  }
  let body = '';
  for await (const part of request) {
    body += part;
  }
  const said = new URLSearchParams(body);
  await provider.interactionFinished(
    request,
    response,
    said.has('refuse') ? { error: 'access_denied' } : { login: { accountId: said.get('name') } },
  );
}

const answer = provider.callback();
createServer((request, response) => {
  if (request.url.startsWith('/interaction/')) {
    interact(request, response);
  } else {
    answer(request, response);
  }
}).listen(new URL(wanted.issuer).port, '127.0.0.1', () => process.stdout.write('listening\n'));

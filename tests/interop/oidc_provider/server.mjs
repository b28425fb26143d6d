// A real OpenID provider for the interop tests: npm oidc-provider, strict, on an ephemeral port.
//
//     node server.mjs NODE_MODULES
//
// Prints one line of JSON with its issuer and ends when its input does. Everybody may log in with
// any name and password. GET /counts says how many requests each path has had.

import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = process.argv[2];
const { Provider } = await import(
  pathToFileURL(join(modules, 'oidc-provider', 'lib', 'index.js')).href
);

const grants = [
  'authorization_code',
  'refresh_token',
  'urn:ietf:params:oauth:grant-type:device_code',
];

const configuration = {
  clients: [
    {
      client_id: 'notes',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
      post_logout_redirect_uris: ['http://127.0.0.1/bye'],
      grant_types: grants,
      response_types: ['code'],
    },
    {
      client_id: 'bound',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: grants,
      response_types: ['code'],
      dpop_bound_access_tokens: true,
    },
    {
      client_id: 'confidential',
      client_secret: 'a secret/with+signs%',
      application_type: 'native',
      token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: grants,
      response_types: ['code'],
    },
  ],
  features: {
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    devInteractions: { enabled: true },
    // Every proof has to have a nonce of the server.
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: 300, AuthorizationCode: 60, RefreshToken: 3600, IdToken: 300, DeviceCode: 60 },
};

const counts = {};
let answer = (request, response) => response.writeHead(503).end();

// The default adapter is not atomic: two refreshes at once could both pass the check for reuse.
// So token requests wait for one another.
let turn = Promise.resolve();

const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://127.0.0.1').pathname;
  if (path === '/counts') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(counts));
    return;
  }
  counts[path] = (counts[path] ?? 0) + 1;
  if (path !== '/token') {
    answer(request, response);
    return;
  }
  turn = turn.then(
    () =>
      new Promise((done) => {
        response.once('close', done);
        answer(request, response);
      }),
  );
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = new Provider(issuer, configuration).callback();
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});

process.stdin.resume();
process.stdin.once('end', () => process.exit(0));

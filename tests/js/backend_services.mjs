// SMART's recipe for backend services in JavaScript, with stock parts alone: discovery, a signed JWT, a search.
// node backend_services.mjs JOSE BASE CLIENT_ID KID ALG < private-key.pem
import { readFileSync } from "node:fs";

const [jose, base, clientId, kid, alg] = process.argv.slice(2);
const { SignJWT, importPKCS8 } = await import(jose);

const discovered = await (await fetch(`${base}/.well-known/smart-configuration`)).json();
if (!discovered.token_endpoint_auth_signing_alg_values_supported.includes(alg)) throw new Error(alg);

const key = await importPKCS8(readFileSync(0, "utf8"), alg);
const assertion = await new SignJWT({})
  .setProtectedHeader({ alg, kid, typ: "JWT" })
  .setIssuer(clientId)
  .setSubject(clientId)
  .setAudience(discovered.token_endpoint)
  .setIssuedAt()
  .setExpirationTime("5m")
  .setJti(crypto.randomUUID())
  .sign(key);

const token = await fetch(discovered.token_endpoint, {
  method: "POST",
  headers: { Accept: "application/json" },
  body: new URLSearchParams({
    grant_type: "client_credentials",
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: assertion,
    scope: "system/DiagnosticReport.rs",
  }),
});
const { access_token, scope } = await token.json();

const answer = await fetch(`${base}/DiagnosticReport/_search`, {
  method: "POST",
  headers: { Authorization: `Bearer ${access_token}` },
  body: new URLSearchParams({ patient: "p1" }),
});
const bundle = await answer.json();
console.log(JSON.stringify({
  token: token.status,
  scope,
  status: answer.status,
  ids: (bundle.entry ?? []).map((entry) => entry.resource.id),
}));

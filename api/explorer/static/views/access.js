// Who may come in: the tenants of the token, registered clients and bearer tokens. Read-only.
import { brief, data, h, prose, some } from "../dom.js";
import { empty, forOperators, load } from "../shell.js";
import { T } from "../texts.js";
import { instant } from "../values.js";
import { tableOf } from "./rows.js";

const A = T.access;

export function accessPage(app) {
  const place = h("div");
  load(place, forOperators(A.title, async (signal) => {
    const [{ tenants }, { clients, tokens }] = await Promise.all([app.fhir.plain("$tenants", { signal }), app.fhir.plain("$clients", { signal })]);
    return [
      part(A.tenants, A.tenantColumns, tenants.map(tenantRow)),
      part(A.clients, A.clientColumns, clients.map(clientRow), A.noClients),
      part(A.tokens, A.tokenColumns, tokens.map(tokenRow), A.noTokens),
    ];
  }));
  return h("div", { class: "page access" }, h("h1", {}, A.title), h("p", { class: "lead" }, prose(A.lead)), place);
}

const part = (title, head, rows, nothing) => h("section", {}, h("h2", { class: "section" }, title),
  rows.length ? tableOf(head, rows, { labelled: true }).node : empty(nothing));

const scopes = (texts) => h("ul", { class: "scopes" }, some(texts, 12, (one) => h("li", { class: "mono" }, data(one))));
const pill = (text, good) => h("span", { class: ["pill", good ? "done" : "void"] }, text);

function tenantRow(one) {
  const kept = one.keepDays === null ? T.retention.withoutEnd : T.retention.days(Number(one.keepDays));
  return [pill(A.open, true), brief(one.tenant), A.searchScopes[one.searchScope], A.handlings[one.handling] || A.handlings.none,
    [kept, Number(one.rules) > 0 && `, ${A.rules(Number(one.rules))}`], brief(one.corsOrigins.join(", ") || "–")];
}

function clientRow(one) {
  const keys = one.keys.map((key) => `${key.kid} (${key.kind})${key.endsAt ? `, ${A.ends(instant(key.endsAt))}` : ""}`);
  return [pill(A.states[one.state] || one.state, one.state === "enabled"), [brief(one.name), one.name !== one.id && h("small", { class: "mono block" }, brief(one.id))],
    brief(one.tenants.join(", ")), scopes(one.scopes), [A.proofs[one.proof] || one.proof, one.keysUrl && h("small", { class: "block" }, brief(one.keysUrl)), keys.map((key) => h("small", { class: "block" }, brief(key)))],
    instant(one.createdAt)];
}

function tokenRow(one) {
  return [pill(one.expired ? A.expired : A.valid, !one.expired), [brief(one.client), h("small", { class: "mono block" }, brief(one.digest))],
    brief(one.tenants.join(", ")), scopes(one.scopes), instant(one.issuedAt), instant(one.expiresAt)];
}

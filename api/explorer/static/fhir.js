// The client of the FHIR API: the visitor's own token, the tenant's own base, and nowhere else.
import { parse } from "./json.js";
import { T } from "./texts.js";

const WAIT_MS = 60_000;
const AT_ONCE = 200;
const FORM = "application/x-www-form-urlencoded";

// A request that did not do what was wanted: sentences for the reader, and what may be tried.
export class Problem extends Error {
  constructor(title, sentences = [], { status = 0, retryAfter = 0, requestId = "" } = {}) {
    super(title);
    Object.assign(this, { title, sentences, status, retryAfter, requestId });
  }
}

export class Fhir {
  #token;
  #renew;
  #renewing = null;
  #declined = 0;

  constructor({ tenant, token, renew }) {
    this.tenant = tenant;
    this.base = new URL(`fhir/R4/${tenant.split("/").map(encodeURIComponent).join("/")}`, location.href).href;
    // The base that the service names itself by, which a proxy may make another one than the page's.
    this.named = this.base;
    this.#token = token;
    this.#renew = renew;
  }

  // The path below our base of a path, a page link or a reference; null for what is elsewhere.
  pathOf(address) {
    const text = String(address ?? "");
    const base = [this.base, this.named].find((one) => text.startsWith(`${one}/`) || text.startsWith(`${one}?`));
    if (base) return text.slice(base.length).replace(/^\//, "");
    return /^(?:[a-z][a-z0-9+.-]*:|\/)/i.test(text) ? null : text;
  }

  url(address) {
    const path = this.pathOf(address);
    if (path === null) throw new Problem(T.errors.elsewhere);
    return `${this.base}${path.startsWith("?") ? "" : "/"}${path}`;
  }

  // The token is good for this tenant when a question that finds nothing is answered.
  async tried() {
    const found = await this.search("DiagnosticReport", [["_id", "none"], ["_count", "0"]]);
    this.named = linkOf(found, "self")?.replace(/\/DiagnosticReport(?:[/?].*)?$/, "") || this.base;
    return this;
  }

  async request(path, { method = "GET", body, headers = {}, signal } = {}) {
    const url = this.url(path);
    const asked = this.#token;
    const since = performance.now();
    let answer;
    try {
      answer = await fetch(url, {
        method, body, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
        headers: { Accept: "application/fhir+json", ...headers, Authorization: `Bearer ${asked}` },
        signal: AbortSignal.any([AbortSignal.timeout(WAIT_MS), signal].filter(Boolean)),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw error.name === "TimeoutError" ? new Problem(T.errors.slow) : new Problem(T.errors.away, [T.errors.awayHint]);
    }
    if (answer.status === 401) {
      await this.renewed(asked, since);
      return this.request(path, { method, body, headers, signal });
    }
    if (!answer.ok) throw await problemOf(answer);
    return answer;
  }

  // One question to the visitor, however many requests were under way; who declines is not asked for these again.
  async renewed(asked, since) {
    if (asked !== this.#token) return;
    if (since < this.#declined) throw new Problem(T.signIn.expired);
    this.#renewing ||= this.#renew().then((token) => {
      this.#token = token;
      this.refused = undefined; // Another token may read more.
    }).finally(() => (this.#renewing = null));
    try {
      await this.#renewing;
    } catch (error) {
      this.#declined = performance.now();
      throw error;
    }
  }

  async json(path, options) {
    return this.read(await this.request(path, options));
  }

  async read(answer) {
    try {
      return parse(await answer.text());
    } catch {
      throw new Problem(T.errors.broken);
    }
  }

  // An operation for operators, which speaks plain JSON.
  async plain(path, { headers = {}, ...options } = {}) {
    return this.json(path, { ...options, headers: { Accept: "application/json", ...headers } });
  }

  // Values go in the body, never in an address.
  async search(type, pairs, { signal, headers = {} } = {}) {
    return this.json(`${type}/_search`, {
      method: "POST", body: new URLSearchParams(pairs).toString(), signal,
      headers: { "Content-Type": FORM, ...headers },
    });
  }

  // Resources by their ids, put to those that came along; what the token may not read stays missing.
  async gather(type, ids, targets, { signal } = {}) {
    if (this.refused?.has(type)) return;
    try {
      for (let at = 0; at < ids.length; at += AT_ONCE) {
        const found = await this.search(type, [["_id", ids.slice(at, at + AT_ONCE).join(",")], ["_count", String(AT_ONCE)]], { signal });
        matches(found).forEach((one) => targets.set(`${type}/${one.id}`, one));
      }
    } catch (error) {
      if (error.status !== 403) throw error;
      this.refused = new Set(this.refused).add(type);
    }
  }

  async text(path, options) {
    return (await this.request(path, options)).text();
  }

  async bytes(path, options) {
    return new Uint8Array(await (await this.request(path, { ...options, headers: { Accept: "*/*" } })).arrayBuffer());
  }

  // All pages of a search, up to a bound, each as it comes.
  async *pages(type, pairs, { signal } = {}) {
    let page = await this.search(type, pairs, { signal });
    for (;;) {
      yield page;
      const next = linkOf(page, "next");
      if (!next) return;
      page = await this.json(next, { signal });
    }
  }

  get token() {
    return this.#token;
  }
}

async function problemOf(answer) {
  const about = {
    status: answer.status,
    retryAfter: Number(answer.headers.get("Retry-After")) || 0,
    requestId: answer.headers.get("X-Request-Id") || "",
  };
  let sentences = [];
  try {
    const outcome = JSON.parse(await answer.text());
    sentences = (outcome.issue || []).map((issue) => issue.details?.text || issue.diagnostics || issue.code);
  } catch {
    // Not ours: what a proxy says is of no use here.
  }
  return new Problem(T.errors.byStatus[answer.status] || T.errors.refused(answer.status), sentences, about);
}

// A typed value as it stands: a comma in it separates nothing, and a bar parts system and value.
export const literal = (text) => text.replace(/[\\,$]/g, "\\$&");

export const linkOf = (bundle, relation) => bundle.link?.find((link) => link.relation === relation)?.url;

export function matches(bundle) {
  return (bundle.entry || []).filter((entry) => entry.search?.mode === "match").map((entry) => entry.resource);
}

// Resources that came with an answer, by the references that lead to them.
export class Companions extends Map {
  constructor(given = [], bases = given.bases || []) {
    super(given);
    this.bases = bases;
  }

  // A reference to a version leads to what there is; one to another server leads nowhere.
  get(reference) {
    const text = String(reference ?? "").replace(/\/_history\/[^/]+$/, "");
    const base = this.bases.find((one) => text.startsWith(`${one}/`));
    return super.get(base ? text.slice(base.length + 1) : text);
  }
}

export function companions(fhir, ...bundles) {
  const resources = bundles.flatMap((bundle) => bundle.entry || []).filter(({ search }) => search?.mode !== "outcome").map(({ resource }) => resource);
  return new Companions(resources.map((one) => [`${one.resourceType}/${one.id}`, one]), [fhir.base, fhir.named]);
}

export function notes(bundle) {
  return (bundle.entry || []).filter((entry) => entry.search?.mode === "outcome")
    .flatMap((entry) => entry.resource.issue || []).map((issue) => issue.details?.text || issue.diagnostics || "");
}

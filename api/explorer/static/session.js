// Who looks: a tenant and a token, in memory alone.
import { field, h, openDialog, replace } from "./dom.js";
import { Fhir, Problem } from "./fhir.js";
import { problem } from "./shell.js";
import { T } from "./texts.js";

const TENANT = /^[^/\s]+\/[^/\s]+$/;

// What the link of the demo brings, taken out of the address before anything else is done.
export function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname);
  return { tenant: given.get("tenant") || "", token: given.get("token") || "", patient: given.get("patient") || "" };
}

const tokenInput = () => h("input", {
  type: "password", autocomplete: "off", spellcheck: "false", required: true, name: "token", class: "mono",
});

// The sign-in page; `enter(fhir)` when the token is good.
export function signInPage(given, enter) {
  const S = T.signIn;
  const tenant = h("input", { type: "text", value: given.tenant, required: true, autocomplete: "off", spellcheck: "false", placeholder: "acme/Development" });
  const token = tokenInput();
  const said = h("div", { "aria-live": "polite" });
  const go = h("button", { type: "submit", class: "primary" }, S.go);
  async function submit(event) {
    event?.preventDefault();
    const named = tenant.value.trim();
    if (!TENANT.test(named)) return replace(said, h("p", { class: "notice bad" }, S.wrongTenant));
    go.disabled = true;
    replace(said, h("p", { class: "muted" }, S.checking));
    try {
      enter(await opened(named, (event ? token.value : given.token).trim()));
    } catch (error) {
      replace(said, problem(error));
    } finally {
      go.disabled = false;
    }
  }
  const page = h("section", { class: "sign-in" },
    h("div", { class: "mark", "aria-hidden": "true" }),
    h("h1", {}, S.title), h("p", { class: "lead" }, S.lead),
    h("form", { onsubmit: submit }, field(S.tenant, tenant, S.tenantHint), field(S.token, token, S.tokenHint), said, go),
    h("p", { class: "muted" }, S.how));
  if (given.token && given.tenant) submit();
  return page;
}

// A client that has been let in: the token is tried with a question that finds nothing.
async function opened(tenant, token) {
  let entered = false;
  const fhir = new Fhir({
    tenant, token,
    renew: () => (entered ? askAgain() : Promise.reject(new Problem(T.signIn.expired))),
  });
  await fhir.search("DiagnosticReport", [["_id", "none"], ["_count", "0"]]);
  entered = true;
  return fhir;
}

// A new token, asked for over whatever is shown.
function askAgain() {
  return new Promise((resolve, reject) => {
    const token = tokenInput();
    const form = h("form", {}, h("p", {}, T.signIn.expiredLead), field(T.signIn.token, token, T.signIn.tokenHint),
      h("button", { type: "submit", class: "primary" }, T.signIn.goOn));
    const dialog = openDialog(T.signIn.expired, form);
    dialog.classList.add("narrow");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      resolve(token.value.trim());
      dialog.close();
    });
    dialog.addEventListener("close", () => reject(new Problem(T.signIn.expired)));
    token.focus();
  });
}


// Who looks: a tenant and a token, in memory alone.
import { field, h, openDialog, prose, replace } from "./dom.js";
import { Fhir, Problem } from "./fhir.js";
import { load, problem } from "./shell.js";
import { T } from "./texts.js";

const ID = /^[A-Za-z0-9.-]{1,64}$/;
const TENANT = /^[^/\s]+\/[^/\s]+$/;

// What a link brings, taken out of the address before anything else is done.
export function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname);
  const told = (name) => given.get(name) || "";
  const id = (name) => (ID.test(told(name)) ? told(name) : "");
  return { tenant: told("tenant"), token: told("token"), patient: id("patient"), report: id("report"), page: told("page") };
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
    h("p", { class: "muted" }, prose(S.how)));
  if (given.token && given.tenant) submit();
  return page;
}

const refused = () => Promise.reject(new Problem(T.signIn.refused, [T.signIn.refusedHint]));

// A client that has been let in.
async function opened(tenant, token) {
  let entered = false;
  const fhir = await new Fhir({ tenant, token, renew: () => (entered ? askAgain(tenant) : refused()) }).tried();
  entered = true;
  return fhir;
}

// A new token, asked for over whatever is shown until one is good for the tenant.
function askAgain(tenant) {
  return new Promise((resolve, reject) => {
    const token = tokenInput();
    const said = h("div", { "aria-live": "polite" });
    const form = h("form", {}, h("p", {}, T.signIn.expiredLead), field(T.signIn.token, token, T.signIn.tokenHint), said,
      h("button", { type: "submit", class: "primary" }, T.signIn.goOn));
    const dialog = openDialog(T.signIn.expired, form);
    dialog.classList.add("narrow");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = token.value.trim();
      load(said, async () => {
        await new Fhir({ tenant, token: given, renew: refused }).tried();
        resolve(given);
        dialog.close();
      });
    });
    dialog.addEventListener("close", () => reject(new Problem(T.signIn.expired)));
    token.focus();
  });
}


// The start: sign in, then pages in one frame.
import { button, h, replace } from "./dom.js";
import { fromAddress, signInPage } from "./session.js";
import { Pages, problem } from "./shell.js";
import { T } from "./texts.js";
import { accessPage } from "./views/access.js";
import { apiPage } from "./views/api.js";
import { findPage } from "./views/find.js";
import { lettersPage } from "./views/letters.js";
import { livePage } from "./views/live.js";
import { patientPage } from "./views/patient.js";
import { reportPage } from "./views/report.js";
import { retentionPage } from "./views/retention.js";
import { trendPage } from "./views/trend.js";

const VIEWS = {
  find: findPage, patient: patientPage, report: reportPage, trend: trendPage, live: livePage, letters: lettersPage,
  retention: retentionPage, access: accessPage, api: apiPage,
};
const MENU = ["find", "live", "letters", "retention", "access", "api"];

const given = fromAddress();
const main = h("main", { id: "content", tabindex: "-1" });
const bar = h("header", { class: "bar" });
document.body.append(h("a", { class: "skip", href: "#content", onclick: skip }, T.skip), bar, main);

function skip(event) {
  event.preventDefault();
  main.focus();
}

function brand(children = []) {
  replace(bar, h("span", { class: "brand" }, h("i", { class: "mark", "aria-hidden": "true" }), h("b", {}, T.name)), children);
}

function enter(fhir) {
  const pages = new Pages(main, mark);
  const open = (view, args = {}) => pages.open(view, T[view]?.title || T.explorer, () => VIEWS[view](app, args));
  const link = (to) => `${location.origin}${location.pathname}#${new URLSearchParams({ tenant: fhir.tenant, ...to })}`;
  const app = { fhir, open, link };
  const items = MENU.map((view) => [view, button(T.nav[view], () => open(view), "tab")]);
  const menu = h("nav", { "aria-label": T.explorer }, items.map(([, item]) => item));
  // Everything but the pages of the menu was found.
  function mark(shown) {
    const current = MENU.includes(shown) ? shown : "find";
    items.forEach(([view, item]) => (view === current ? item.setAttribute("aria-current", "page") : item.removeAttribute("aria-current")));
  }
  // Leaving forgets the token: nothing of it is kept anywhere.
  const out = button(T.signOut, () => location.reload(), "link");
  brand([menu, h("span", { class: "who" }, h("bdi", {}, fhir.tenant), out)]);
  open("find");
  if (given.patient) first(app, main.firstElementChild);
  else if (given.report) open("report", { id: given.report });
  else if (MENU.includes(given.page)) open(given.page);
}

// The patient that the link names, with the results at a glance, unless somebody went on meanwhile.
async function first({ fhir, open }, page) {
  try {
    const patient = await fhir.json(`Patient/${given.patient}`);
    if (page.isConnected) open("patient", { patient, tab: 1 });
  } catch (error) {
    page.prepend(problem(error));
  }
}

brand();
main.append(signInPage(given, enter));

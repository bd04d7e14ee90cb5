// The start: sign in, then pages in one frame.
import { button, h, replace } from "./dom.js";
import { fromAddress, signInPage } from "./session.js";
import { Pages } from "./shell.js";
import { T } from "./texts.js";
import { findPage } from "./views/find.js";
import { patientPage } from "./views/patient.js";
import { reportPage } from "./views/report.js";
import { trendPage } from "./views/trend.js";

const VIEWS = {
  find: findPage, patient: patientPage, report: reportPage, trend: trendPage,
};
const MENU = ["find"];

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
  const pages = new Pages(main);
  const open = (view, args = {}) => pages.open(T[view]?.title || T.explorer, VIEWS[view]({ fhir, open }, args));
  const menu = h("nav", { "aria-label": T.explorer }, MENU.map((view) => button(T.nav[view], () => open(view), "tab")));
  // Leaving forgets the token: nothing of it is kept anywhere.
  const out = button(T.signOut, () => location.reload(), "link");
  brand([menu, h("span", { class: "who" }, h("bdi", {}, fhir.tenant), out)]);
  open("find");
}

brand();
main.append(signInPage(given, enter));

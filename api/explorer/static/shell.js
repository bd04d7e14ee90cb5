// What every view stands in: the pages that were opened, and waiting, failing and trying again.
import { button, h, prose, replace } from "./dom.js";
import { Problem } from "./fhir.js";
import { T } from "./texts.js";

const KEPT = 20;
const PATIENCE_MS = 2_500;

// Pages are kept in memory, with what was typed in them; the address never changes.
export class Pages {
  #opened = [];
  #at = -1;
  #place;
  #shown;

  constructor(place, shown) {
    this.#place = place;
    this.#shown = shown;
    addEventListener("popstate", (event) => this.#show(event.state?.at ?? 0));
  }

  open(view, title, node) {
    if (this.#at >= 0) this.#opened[this.#at].scroll = scrollY;
    this.#opened.length = this.#at + 1;
    this.#opened.push({ view, title, node, scroll: 0 });
    const at = this.#opened.length - 1;
    history[at ? "pushState" : "replaceState"]({ at }, "");
    if (at >= KEPT) this.#opened[at - KEPT].node.replaceChildren(button(T.again, () => history.forward()));
    this.#show(at, true);
  }

  #show(at, fresh = false) {
    const page = this.#opened[at];
    if (!page) return;
    if (!fresh && this.#at >= 0) this.#opened[this.#at].scroll = scrollY;
    this.#at = at;
    document.title = `${page.title} · ${T.name}`;
    this.#place.replaceChildren(page.node);
    scrollTo(0, page.scroll);
    this.#place.focus({ preventScroll: true });
    this.#shown(page.view);
    page.node.dispatchEvent(new CustomEvent("shown"));
  }
}

// Do `work(signal)` and put what it gives into `place`; say so when it takes long, and let it be tried again.
export async function load(place, work, { keep = false } = {}) {
  const aborting = new AbortController();
  const { signal } = aborting;
  if (!keep) replace(place, skeleton());
  place.setAttribute("aria-busy", "true");
  const late = setTimeout(() => {
    place.append(h("p", { class: "waiting", role: "status" }, T.wait, " ", button(T.cancel, () => aborting.abort(), "link")));
  }, PATIENCE_MS);
  const over = () => {
    clearTimeout(late);
    place.removeAttribute("aria-busy");
    place.querySelectorAll(":scope > .waiting").forEach((one) => one.remove());
  };
  try {
    const made = await work(signal);
    over();
    if (made !== undefined) replace(place, made);
  } catch (error) {
    over();
    const again = () => {
      panel.remove();
      load(place, work, { keep });
    };
    const panel = signal.aborted ? h("p", { class: "notice" }, T.cancelled, " ", button(T.again, again, "link")) : problem(error, again);
    if (keep) place.append(panel);
    else replace(place, panel);
  }
}

export function problem(error, again) {
  const known = error instanceof Problem;
  if (!known) console.warn(error);
  const title = known ? error.title : T.errors.unexpected;
  return h("section", { class: "problem", role: "alert" },
    h("p", {}, h("b", {}, title)),
    known && error.sentences.map((sentence) => h("p", {}, prose(sentence))),
    known && error.retryAfter > 0 && h("p", {}, T.errors.retry(error.retryAfter)),
    h("p", { class: "problem-foot" }, again && button(T.again, again, "small"),
      known && error.requestId && h("small", {}, T.errors.request(error.requestId))));
}

const skeleton = () => h("div", { class: "skeleton", "aria-hidden": "true" }, h("i"), h("i"), h("i"));

export const empty = (title, hint) => h("div", { class: "empty" }, h("p", {}, h("b", {}, title)), hint && h("p", {}, hint));

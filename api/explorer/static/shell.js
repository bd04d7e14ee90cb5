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

  // `make()` gives the page's node; the oldest pages are made anew when somebody comes back to them.
  open(view, title, make) {
    this.#leave();
    this.#opened.length = this.#at + 1;
    this.#opened.push({ view, title, make, node: null, scroll: 0, focus: null });
    const at = this.#opened.length - 1;
    history[at ? "pushState" : "replaceState"]({ at }, "");
    if (at >= KEPT) Object.assign(this.#opened[at - KEPT], { node: null, focus: null });
    this.#enter(at);
  }

  #show(at) {
    if (!this.#opened[at]) return;
    this.#leave();
    this.#enter(at);
  }

  #leave() {
    const page = this.#opened[this.#at];
    if (!page) return;
    page.scroll = scrollY;
    page.focus = page.node.contains(document.activeElement) ? document.activeElement : null;
    page.node.dispatchEvent(new CustomEvent("left"));
  }

  // Who comes back finds the focus where it was.
  #enter(at) {
    const page = this.#opened[at];
    this.#at = at;
    document.title = `${page.title} · ${T.name}`;
    page.node ||= page.make();
    this.#place.replaceChildren(page.node);
    scrollTo(0, page.scroll);
    (page.focus?.isConnected ? page.focus : this.#place).focus({ preventScroll: true });
    this.#shown(page.view);
    page.node.dispatchEvent(new CustomEvent("shown"));
  }
}

const loading = new WeakMap();

// Do `work(signal)` and put what it gives into `place`; say so when it takes long, and let it be tried again.
// Of several for one place the last one counts: an answer to an older question is never shown under a newer one.
export async function load(place, work, { keep = false } = {}) {
  const aborting = new AbortController();
  const { signal } = aborting;
  loading.get(place)?.abort();
  loading.set(place, aborting);
  const stale = () => loading.get(place) !== aborting;
  if (!keep) replace(place, skeleton());
  place.setAttribute("aria-busy", "true");
  const late = setTimeout(() => {
    if (!stale()) place.append(h("p", { class: "waiting", role: "status" }, T.wait, " ", button(T.cancel, () => aborting.abort(), "link")));
  }, PATIENCE_MS);
  const over = () => {
    clearTimeout(late);
    place.removeAttribute("aria-busy");
    place.querySelectorAll(":scope > .waiting").forEach((one) => one.remove());
  };
  try {
    const made = await work(signal);
    if (stale()) return;
    over();
    if (made !== undefined) replace(place, made);
  } catch (error) {
    if (stale()) return;
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

// Work that needs the scope of operators: who has it not is told how to get it.
export const forOperators = (title, work) => async (signal) => {
  try {
    return await work(signal);
  } catch (error) {
    if (error.status !== 403) throw error;
    return empty(title, T.needsAdmin);
  }
};

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

export const empty = (title, hint) => h("div", { class: "empty" }, h("p", {}, h("b", {}, title)), hint && h("p", {}, prose(hint)));

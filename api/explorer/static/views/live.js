// Pushes as they come: from the change feed, and for operators what was refused.
import { brief, button, data, h, prose, replace } from "../dom.js";
import { matches, companions } from "../fhir.js";
import { empty, problem } from "../shell.js";
import { T } from "../texts.js";
import { concept, list, referenceText } from "../values.js";
import { statusPill } from "./rows.js";

const L = T.live;
const KEPT = 300;
const WAIT_SECONDS = 25;
const PAUSE_MS = 2_000;
const LOOK_MS = 5_000;
const CHOICES_MAX = 100;

export function livePage(app) {
  const feed = h("ol", { class: "feed" });
  const state = h("span", { class: "live-state", role: "status" }, h("i"), L.connecting);
  const nothing = empty(L.empty);
  const trouble = h("div");
  const kinds = choice(L.all, () => narrow());
  const sources = choice(L.allSources, () => narrow());
  let paused = false;
  const pause = button(L.pause, () => {
    paused = listening.on;
    return paused ? listening.stop() : listening.start();
  });
  const page = h("div", { class: "page live" },
    h("h1", {}, L.title), h("p", { class: "lead" }, L.lead),
    h("p", { class: "actions" }, state, pause, kinds.node, sources.node), trouble, nothing, feed);
  const narrow = () => [...feed.children].forEach((one) => (one.hidden = !kinds.takes(one.dataset.type) || !sources.takes(one.dataset.source)));
  const say = (text, on) => {
    replace(state, h("i"), text);
    state.classList.toggle("on", on);
    pause.textContent = on || text === L.connecting ? L.pause : L.resume;
  };
  const add = (row) => {
    // After a scan the feed tells what it has told before.
    const { change } = row.dataset;
    if (change && [...feed.children].some((one) => one.dataset.change === change)) return;
    nothing.hidden = true;
    kinds.offer(row.dataset.type);
    sources.offer(row.dataset.source);
    feed.prepend(row);
    while (feed.children.length > KEPT) feed.lastChild.remove();
    narrow();
  };
  const listening = new Listening(app, { say, add, fail: (error) => replace(trouble, error && problem(error, () => listening.start())) });
  // Nobody listens for a page that is not looked at; who paused it finds it paused.
  page.addEventListener("shown", () => paused || listening.start());
  page.addEventListener("left", () => listening.stop());
  return page;
}

// A choice among what has been seen so far.
function choice(all, onchange) {
  const node = h("select", { "aria-label": all, onchange }, h("option", { value: "" }, all));
  const known = new Set([undefined]);
  const offer = (value) => {
    if (known.has(value) || known.size > CHOICES_MAX) return;
    known.add(value);
    node.append(h("option", { value }, value.slice(0, 60)));
  };
  return { node, offer, takes: (value) => !node.value || node.value === value };
}

class Listening {
  on = false;
  #since = null;
  #aborting = null;

  constructor(app, { say, add, fail }) {
    Object.assign(this, { app, say, add, fail });
  }

  stop() {
    this.on = false;
    this.#aborting?.abort();
    this.say(L.paused, false);
  }

  async start() {
    if (this.on) return;
    this.on = true;
    this.fail(null);
    this.#aborting = new AbortController();
    const { signal } = this.#aborting;
    this.say(L.connecting, false);
    this.#refusals(signal);
    while (this.on && !signal.aborted) {
      try {
        await this.#turn(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (![0, 429, 503, 504].includes(error.status ?? 0)) {
          this.stop();
          this.fail(error.status === 404 ? Object.assign(error, { title: L.unavailable }) : error);
          return;
        }
        this.say(L.lost, false);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  async #turn(signal) {
    const query = this.#since ? `?since=${encodeURIComponent(this.#since)}&_wait=${WAIT_SECONDS}` : "";
    let heard;
    try {
      heard = await this.app.fhir.plain(`$changes${query}`, { signal });
    } catch (error) {
      if (error.status !== 410) throw error;
      this.#since = null; // Too long away: the feed goes on from now.
      return;
    }
    this.#since = heard.next;
    this.say(L.on, true);
    if (heard.changes.length) await this.#show(heard.changes, signal);
  }

  // Reports with what they are about; of everything else the name is enough.
  async #show(changes, signal) {
    const ids = [...new Set(changes.filter((one) => one.type === "DiagnosticReport").map((one) => one.id))].slice(-100);
    let reports = new Map();
    let targets;
    if (ids.length) {
      try {
        const found = await this.app.fhir.search("DiagnosticReport", [["_id", ids.join(",")], ["_count", "100"], ["_include", "DiagnosticReport:patient"], ["_include", "DiagnosticReport:performer"]], { signal });
        reports = new Map(matches(found).map((one) => [one.id, one]));
        targets = companions(this.app.fhir, found);
      } catch (error) {
        if (signal.aborted) throw error; // Without the details the change is still told.
      }
    }
    for (const change of changes) this.add(this.#row(change, reports.get(change.id), targets));
  }

  #row(change, report, targets) {
    const known = change.type === "DiagnosticReport" && report;
    const title = known ? button(brief(concept(report.code) || change.id), () => this.app.open("report", { id: change.id }), "link strong")
      : h("span", {}, change.type, " ", h("span", { class: "mono muted" }, data(change.id)));
    const source = known ? referenceText(list(report.performer)[0], targets, report) : "";
    const about = known && [referenceText(report.subject, targets, report), source].filter(Boolean).join(" · ");
    return h("li", { "data-type": change.type, "data-source": source || null, "data-change": [change.type, change.id, change.version].join("/") },
      h("time", { datetime: change.at }, clock(change.at)),
      h("span", {}, title, about && [" ", h("span", { class: "muted" }, data(about))]),
      h("span", {}, known && statusPill(report.status), " ", h("span", { class: "muted" }, `${change.kind}, ${T.report.version(change.version).toLowerCase()}`)));
  }

  // Who may not see refused pushes is not told of them.
  async #refusals(signal) {
    const seen = new Map();
    let first = true;
    while (this.on && !signal.aborted) {
      try {
        const { letters } = await this.app.fhir.plain("$dead-letters?count=20", { signal });
        for (const one of [...letters].reverse()) {
          if (!first && String(seen.get(one.id)) !== String(one.times)) this.add(this.#refused(one));
          seen.set(one.id, one.times);
        }
        first = false;
      } catch (error) {
        if (error.status === 403 || error.status === 404 || signal.aborted) return;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  #refused(letter) {
    return h("li", { "data-type": L.refused, "data-source": letter.client, class: "refused" },
      h("time", { datetime: letter.lastTime }, clock(letter.lastTime)),
      h("span", {}, button(prose(letter.reason.text || letter.reason.code), () => this.app.open("letters", { id: letter.id }), "link strong"), " ", h("span", { class: "muted" }, data(`${letter.client} · ${letter.operation}`))),
      h("span", { class: "pill void" }, L.refused));
  }
}

const clock = (text) => new Date(text).toLocaleTimeString("en-GB");

// Draws a report, its patient and a trend with each element in each wrong shape; gives what failed.
async ([text, shapes, allOf]) => {
  const from = (name) => import(`./explorer/static/${name}.js`);
  const [{ parse }, { Fhir }, { reportPage }, { patientPage }, { trendPage }] =
    await Promise.all(["json", "fhir", "views/report", "views/patient", "views/trend"].map(from));
  document.documentElement.style.visibility = "hidden"; // Drawn all the same, but not painted.
  const failures = [];
  let changed = "";
  const failed = (error) => failures.push(`${changed}: ${error?.stack || error}`.slice(0, 300));
  console.warn = failed;
  addEventListener("unhandledrejection", (event) => failed(event.reason));
  const turn = () => new Promise((done) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  const answer = (sent, type) => {
    const entry = parse(sent).map((resource) => ({ resource, search: { mode: resource.resourceType === type ? "match" : "include" } }));
    return { entry };
  };
  const clientOf = (sent) => Object.assign(Object.create(Fhir.prototype), {
    base: "http://here.example/fhir/R4/a/b", named: "",
    search: async (type) => answer(sent, type),
    json: async (path) => ({ entry: answer(sent).entry.filter(({ resource }) => path.startsWith(resource.resourceType)).slice(0, 1)
      .flatMap(({ resource }) => [1, 2].map((n) => ({ resource, response: { etag: `W/"${n}"`, lastModified: "2026-01-01T00:00:00Z" } }))) }),
    pages: async function* (type) { yield answer(sent, type); },
  });
  const draw = async (sent) => {
    const app = { fhir: clientOf(sent), open: () => {}, link: () => "" };
    const patient = answer(sent, "Patient").entry.find(({ search }) => search.mode === "match").resource;
    const about = { subject: { reference: "Patient/p1" }, patient, code: "http://loinc.org|1-1", title: "Test" };
    const views = [() => reportPage(app, { id: "r1" }), () => patientPage(app, { patient, tab: 1 }), () => trendPage(app, about)];
    for (const view of views) {
      try {
        const node = view();
        document.body.append(node);
        for (let turns = 0; turns < 3; turns += 1) await turn();
        node.querySelectorAll("button.version").forEach((button) => button.click());
        if (node.querySelector(".problem")) failed("a problem is shown");
        if (!node.textContent.trim()) failed("nothing is shown");
        node.remove();
      } catch (error) {
        failed(error);
      }
    }
  };
  const places = (node, found = []) => {
    for (const key of Object.keys(node)) {
      if (key !== "resourceType" && key !== "id" && typeof node !== "string") found.push([node, key]);
      if (node[key] && typeof node[key] === "object") places(node[key], found);
    }
    return found;
  };
  const all = JSON.parse(text);
  let drawn = 0;
  for (const resource of all) {
    for (const [node, key] of places(resource)) {
      const kept = node[key];
      for (const shape of allOf ? shapes : [0, 3].map((at) => shapes[(drawn + at) % shapes.length])) {
        node[key] = shape;
        changed = `${resource.resourceType}.${key} = ${JSON.stringify(shape).slice(0, 20)}`;
        await draw(JSON.stringify(all));
        drawn += 1;
      }
      node[key] = kept;
    }
  }
  return [drawn, failures.length, failures.slice(0, 40), window.ran ?? null];
}

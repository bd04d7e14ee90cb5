// A resource as it is stored.
import { copyButton, h, openDialog } from "../dom.js";
import { load } from "../shell.js";
import { T } from "../texts.js";

const SHOWN_MAX = 300_000;

export function rawOf(app, resource) {
  const place = h("div");
  openDialog(T.report.rawTitle, place);
  const version = resource.meta?.versionId ? `/_history/${resource.meta.versionId}` : "";
  load(place, async (signal) => {
    const text = await app.fhir.text(`${resource.resourceType}/${resource.id}${version}?_pretty=true`, { signal });
    const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}\n…` : text;
    return [h("p", {}, copyButton(text, T.copy)), h("pre", { class: "code tall", tabindex: "0" }, shown)];
  });
}

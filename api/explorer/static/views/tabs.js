// Panels of which one is shown.
import { h, uid } from "../dom.js";

// Tabs by the book: arrow keys move, one is in the order of the Tab key.
export function tabs(panels, onShow = () => {}, chosen = 0) {
  const made = panels.map(([label, panel]) => {
    const id = uid("tab");
    Object.assign(panel, { id: `${id}-panel`, tabIndex: -1 });
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    return h("button", { type: "button", role: "tab", id, "aria-controls": panel.id, class: "tab" }, label);
  });
  const choose = (index, focus) => {
    made.forEach((tab, at) => {
      tab.setAttribute("aria-selected", at === index);
      tab.tabIndex = at === index ? 0 : -1;
      panels[at][1].hidden = at !== index;
    });
    if (focus) made[index].focus();
    onShow(index);
  };
  made.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(index));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1 + made.length, Home: 0, End: made.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose(to % made.length, true);
    });
  });
  const all = h("div", { class: "tabs" }, h("div", { role: "tablist" }, made), panels.map(([, panel]) => panel));
  choose(chosen);
  return all;
}

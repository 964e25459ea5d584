// A saved run: the file itself is the channel that brings pages and their data.

import { mount } from "./client.js";
import { element } from "./format.js";
import { Source } from "./source.js";

const NOT_HERE =
  "This report does not hold that. It has every page of the menu, the tasks that failed, and the longest of each function.";

async function unpacked(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

// Answers what a server answers, out of what was recorded.
class Record {
  constructor(data) {
    this.data = data;
    this.bounds = [data.times[0], data.times[data.times.length - 1]];
  }

  key({ page, params }) {
    const own = Object.entries(params).filter(([name, value]) => !["at", "job"].includes(name) && value !== "");
    own.sort(([one], [other]) => (one < other ? -1 : 1));
    return `${page}?${JSON.stringify(Object.fromEntries(own))}`;
  }

  answer(message, tell) {
    const key = this.key(message);
    const entry = this.data.pages[key];
    if (!entry) {
      tell({ type: "refused", reason: NOT_HERE });
      return;
    }
    const at = message.params.at === undefined ? null : Number(message.params.at);
    if (key !== this.shown || at === this.at) {
      const document = this.data.documents[entry.document];
      tell({ ...document, params: entry.params, menu: this.data.menu, at });
    }
    this.shown = key;
    this.at = at;
    const ops = this.until(key, entry, at).map((source) => ({ source: source.name, op: "reset", data: source.data }));
    tell({ type: "data", at, record: this.bounds, ops, error: at === null ? "" : entry.note });
  }

  // The sources of a page as they were: played on from where they are, or from the beginning.
  until(key, entry, at) {
    const { times } = this.data;
    let last = entry.frames.length - 1;
    if (at !== null) while (last > 0 && times[last] > at + 1e-6) last -= 1;
    if (this.played?.key !== key || this.played.next > last + 1) this.played = { key, next: 0, sources: new Map() };
    const { played } = this;
    for (; played.next <= last; played.next += 1) {
      for (const op of entry.frames[played.next]) {
        if (!played.sources.has(op.source)) played.sources.set(op.source, new Source(op.source));
        played.sources.get(op.source).apply(op);
      }
    }
    return [...played.sources.values()];
  }
}

function openReport(data) {
  const record = new Record(data);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let theme = new URLSearchParams(location.search).get("theme") ?? (dark.matches ? "dark" : "light");
  document.body.dataset.theme = theme;
  const byId = (id) => document.getElementById(id);
  byId("left-out").textContent = data.left_out;

  const drawMenu = (page) => {
    const links = data.menu.map((entry) => {
      const link = element("a", "", entry.title);
      link.href = `#${entry.name}`;
      link.title = entry.about;
      if (entry.name === page.name) link.setAttribute("aria-current", "page");
      return link;
    });
    const bottom = element("div", "bottom");
    const button = element("button", "hm-button", theme === "dark" ? "Light" : "Dark");
    button.addEventListener("click", () => {
      theme = theme === "dark" ? "light" : "dark";
      document.body.dataset.theme = theme;
      shown.repaint();
      drawMenu(page);
    });
    bottom.append(element("div", "link", data.made), button);
    byId("menu").replaceChildren(element("div", "name", "Himalia"), ...links, bottom);
  };

  const address = (page, params) => `#${page}${Object.keys(params).length ? `?${new URLSearchParams(params)}` : ""}`;
  const shown = mount(byId("page"), {
    send: (message) => record.answer(message, (answer) => shown.receive(answer)),
    bokeh: async () => window.Bokeh,
    act: null,
    opened: (page) => {
      byId("title").textContent = page.title;
      byId("about").textContent = page.about;
      document.title = `${page.title} – Himalia`;
      const place = address(page.name, page.params);
      if (location.hash !== place) history.pushState({}, "", place);
      drawMenu(page);
    },
    theme: () => theme,
    travel: true,
  });
  const fromAddress = () => {
    const [name, query] = decodeURI(location.hash.slice(1)).split("?");
    shown.show(name || "overview", Object.fromEntries(new URLSearchParams(query ?? "")));
  };
  window.addEventListener("popstate", fromAddress); // also of links
  fromAddress();
}

unpacked("himalia-record").then(openReport);

// Panels that are neither table nor plot: figures, named values, lines of text, documents of their own, flame graphs.

import { attach } from "./flame.js";
import { element, fill } from "./format.js";

class Panel {
  constructor(spec, page, name) {
    this.spec = spec;
    this.page = page;
    this.source = page.source(spec.source);
    this.node = element("div", name);
    this.listener = (op) => {
      this.changed?.(op);
      page.later(this);
    };
    this.source.listeners.add(this.listener);
  }

  // One element for each row, kept while its key stays.
  each(make, draw) {
    this.nodes ??= new Map();
    const old = this.nodes;
    this.nodes = new Map();
    const list = [];
    for (let place = 0; place < this.source.length; place += 1) {
      const row = this.source.row(place);
      const node = old.get(row.key) ?? make(row);
      draw(node, row);
      this.nodes.set(row.key, node);
      list.push(node);
    }
    return list;
  }

  close() {
    this.source.listeners.delete(this.listener);
  }
}

export class NumbersPanel extends Panel {
  constructor(spec, page) {
    super(spec, page, "hm-numbers");
  }

  draw() {
    const make = () => {
      const node = element("div", "hm-number-card");
      node.append(element("div", "hm-label"), element("div", "hm-value"), element("div", "hm-share"));
      node.append(element("div", "hm-note"));
      node.children[2].append(element("span"));
      return node;
    };
    const draw = (node, row) => {
      const [label, value, share, note] = node.children;
      label.textContent = row.label;
      fill(value, row.value, row.kind);
      share.hidden = row.share === null;
      share.firstChild.style.width = `${Math.max(0, Math.min(1, row.share ?? 0)) * 100}%`;
      note.textContent = row.note;
    };
    this.node.replaceChildren(...this.each(make, draw));
  }
}

export class DetailsPanel extends Panel {
  constructor(spec, page) {
    super(spec, page, "hm-details");
    this.list = element("dl");
    this.note = element("div", "hm-empty");
    this.acts = element("div", "hm-acts");
    for (const act of spec.acts ?? []) {
      const button = element("button", "hm-button", act.title);
      button.type = "button";
      button.addEventListener("click", () => page.act(act, this.values));
      button.act = act;
      this.acts.append(button);
    }
    this.node.append(this.list, this.note, this.acts);
  }

  draw() {
    this.values = {};
    const make = () => {
      const node = element("div", "hm-detail");
      node.append(element("dt"), element("dd"));
      return node;
    };
    const draw = (node, row) => {
      this.values[row.key] = row.value;
      node.children[0].textContent = row.label;
      fill(node.children[1], row.value, row.kind);
    };
    const isShown = (node) => node.children[0].textContent && node.children[1].textContent;
    this.list.replaceChildren(...this.each(make, draw).filter(isShown));
    this.note.textContent = this.source.length ? "" : (this.spec.empty ?? "");
    for (const button of this.acts.children) {
      button.hidden = !this.source.length || (Boolean(button.act.when) && !this.values[button.act.when]);
    }
  }
}

export class TextPanel extends Panel {
  constructor(spec, page) {
    super(spec, page, "hm-text");
    this.lines = element("pre");
    this.lines.tabIndex = 0;
    this.lines.style.maxHeight = `${spec.height ?? 320}px`;
    this.note = element("div", "hm-empty");
    this.node.append(this.lines, this.note);
  }

  draw() {
    const { lines } = this;
    const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const make = () => element("div");
    const draw = (node, row) => {
      if (node.textContent !== row.text) node.textContent = row.text;
      node.className = row.mark ? `hm-line hm-line-${row.mark.replace(/[^a-z]/g, "")}` : "hm-line";
    };
    lines.replaceChildren(...this.each(make, draw));
    lines.hidden = !this.source.length;
    this.note.textContent = this.source.length ? "" : (this.spec.empty ?? "");
    if (this.spec.follow && isAtEnd) lines.scrollTop = lines.scrollHeight;
  }
}

export class FramePanel extends Panel {
  constructor(spec, page) {
    super(spec, page, "hm-frame");
    this.frame = element("iframe");
    this.frame.setAttribute("sandbox", "allow-scripts"); // no access to the page, its cookies or its address
    this.frame.title = spec.title;
    this.frame.style.height = `${spec.height ?? 480}px`;
    this.note = element("div", "hm-empty");
    this.node.append(this.frame, this.note);
  }

  draw() {
    const html = this.source.data.html?.[0] ?? "";
    if (html !== this.html) this.frame.srcdoc = this.html = html;
    this.frame.hidden = !html;
    this.note.textContent = html ? "" : (this.spec.empty ?? "");
  }
}

const FLAME_TAGS = new Set(["DIV", "SPAN", "B"]);
const FLAME_ATTRIBUTES = ["class", "style", "title"];

// What plots/flame.py makes and nothing else: no element that could load or run anything comes through.
function copied(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  if (node.nodeType !== Node.ELEMENT_NODE || !FLAME_TAGS.has(node.tagName)) return document.createTextNode("");
  const copy = document.createElement(node.tagName);
  for (const name of FLAME_ATTRIBUTES) {
    const value = node.getAttribute(name);
    if (value !== null && !/url\s*\(/i.test(value)) copy.setAttribute(name, value);
  }
  copy.append(...[...node.childNodes].map(copied));
  return copy;
}

export class FlamePanel extends Panel {
  constructor(spec, page) {
    super(spec, page, "hm-flame");
    this.place = element("div");
    this.note = element("div", "hm-empty");
    this.node.append(this.place, this.note);
  }

  draw() {
    const html = this.source.data.html?.[0] ?? "";
    if (html !== this.html) {
      this.html = html;
      const parsed = new DOMParser().parseFromString(html, "text/html");
      const graph = element("div");
      graph.append(...[...parsed.body.childNodes].map(copied));
      this.place.replaceChildren(graph);
      attach(graph);
    }
    this.note.textContent = html ? "" : (this.spec.empty ?? "");
  }
}

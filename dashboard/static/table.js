// A table that keeps its place: sorted, searched and clicked, while its rows change.

import { NUMERIC, element, fill, format } from "./format.js";

const MOST = 500; // rows in the page: more are found by searching

export class TablePanel {
  constructor(spec, page) {
    this.spec = spec;
    this.page = page;
    this.source = page.source(spec.source);
    this.words = "";
    this.sort = spec.sort ? { name: spec.sort.replace(/^-/, ""), down: spec.sort.startsWith("-") } : null;
    this.rows = new Map(); // by key: the row's element
    this.node = element("div", "hm-table");
    this.build();
    this.listener = () => page.later(this);
    this.source.listeners.add(this.listener);
  }

  build() {
    const { spec } = this;
    if (spec.search) {
      const field = element("input", "hm-search");
      field.type = "search";
      field.placeholder = "Filter";
      field.setAttribute("aria-label", `Filter ${spec.title}`);
      field.addEventListener("input", () => {
        this.words = field.value.toLowerCase();
        this.draw();
      });
      this.node.append(field);
    }
    this.scroll = element("div", "hm-scroll");
    if (spec.height) this.scroll.style.maxHeight = `${spec.height}px`;
    this.table = element("table");
    this.head = element("tr");
    for (const column of spec.columns) this.head.append(this.heading(column));
    if (spec.acts?.length) this.head.append(element("th"));
    const head = element("thead");
    head.append(this.head);
    this.body = element("tbody");
    this.table.append(head, this.body);
    this.scroll.append(this.table);
    this.note = element("div", "hm-empty");
    this.node.append(this.scroll, this.note);
  }

  heading(column) {
    const cell = element("th", NUMERIC.has(column.kind) && column.kind !== "share" ? "hm-number" : "");
    const button = element("button", "hm-heading", column.title);
    button.type = "button";
    button.title = column.hint ?? "";
    if (!column.title) button.setAttribute("aria-label", column.name);
    button.addEventListener("click", () => {
      const down = this.sort?.name === column.name ? !this.sort.down : NUMERIC.has(column.kind);
      this.sort = { name: column.name, down };
      this.draw();
    });
    cell.append(button);
    cell.dataset.column = column.name;
    return cell;
  }

  order() {
    const { data } = this.source;
    const places = [...Array(this.source.length).keys()].filter((place) => this.matches(place));
    if (!this.sort || !data[this.sort.name]) return places;
    const column = data[this.sort.name];
    const sign = this.sort.down ? -1 : 1;
    const missing = (value) => value === null || value === undefined || value === "";
    return places.sort((a, b) => {
      const [left, right] = [column[a], column[b]];
      if (missing(left) || missing(right)) return missing(left) - missing(right);
      if (left === right) return a - b;
      return (left < right ? -1 : 1) * sign;
    });
  }

  matches(place) {
    if (!this.words) return true;
    const { data } = this.source;
    return this.spec.columns.some((column) => {
      const value = data[column.name]?.[place];
      return `${value ?? ""} ${format(value, column.kind)}`.toLowerCase().includes(this.words);
    });
  }

  draw() {
    const key = Object.keys(this.source.data)[0];
    const places = this.order();
    const shown = places.slice(0, MOST);
    const old = this.rows;
    this.rows = new Map();
    const nodes = shown.map((place) => {
      const row = this.source.row(place);
      const node = old.get(row[key]) ?? this.row();
      this.rows.set(row[key], node);
      this.fillRow(node, row);
      return node;
    });
    const present = this.body.children;
    nodes.forEach((node, index) => {
      if (present[index] !== node) this.body.insertBefore(node, present[index] ?? null);
    });
    while (present.length > nodes.length) this.body.lastChild.remove();
    for (const cell of this.head.children) {
      const active = this.sort && cell.dataset.column === this.sort.name;
      cell.setAttribute("aria-sort", active ? (this.sort.down ? "descending" : "ascending") : "none");
    }
    this.table.hidden = !this.source.length;
    const more = places.length - shown.length;
    this.note.textContent = this.source.length
      ? more > 0
        ? `${more.toLocaleString("en-US")} more rows: filter to find them`
        : places.length
          ? ""
          : "No row has these words."
      : (this.spec.empty ?? "");
  }

  row() {
    const node = element("tr");
    const { spec } = this;
    for (const column of spec.columns) {
      const narrow = NUMERIC.has(column.kind) && column.kind !== "share";
      node.append(element("td", narrow ? "hm-number" : ""));
    }
    if (spec.opens) {
      node.tabIndex = 0;
      node.classList.add("hm-opens");
      node.addEventListener("click", () => this.page.open(spec.opens, node.data));
      node.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && event.target === node) this.page.open(spec.opens, node.data);
      });
    }
    if (spec.acts?.length) node.append(this.buttons(node));
    node.shown = [];
    return node;
  }

  buttons(node) {
    const cell = element("td", "hm-acts");
    for (const act of this.spec.acts) {
      const button = element("button", "hm-button", act.title);
      button.type = "button";
      button.addEventListener("click", (event) => {
        event.stopPropagation();
        this.page.act(act, node.data);
      });
      button.act = act;
      cell.append(button);
    }
    return cell;
  }

  fillRow(node, row) {
    node.data = row;
    this.spec.columns.forEach((column, index) => {
      const value = row[column.name];
      if (node.shown[index] !== value || column.kind === "ago") {
        fill(node.children[index], value, column.kind ?? "text");
        node.shown[index] = value;
      }
    });
    for (const button of node.querySelectorAll(".hm-acts > button")) {
      button.hidden = Boolean(button.act.when) && !row[button.act.when];
    }
  }

  close() {
    this.source.listeners.delete(this.listener);
  }
}


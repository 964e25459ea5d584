// Shows pages of the dashboard in an element, whatever brings their data: a websocket, a kernel, a file.
//
//   const shown = mount(element, options);   shown.show(page, params);   shown.close();
//
// Options: send(message) and what calls shown.receive(message) are the channel; bokeh() resolves to BokehJS;
// act(name, args) carries out an action (null: none can be taken here); opened(page, params) is told where we are;
// theme() says "light" or "dark"; travel: whether there is a slider through time; moved(at) is told the moment shown.

import { element } from "./format.js";
import { DetailsPanel, FlamePanel, FramePanel, NumbersPanel, TextPanel } from "./panels.js";
import { PlotPanel } from "./plot.js";
import { Source } from "./source.js";
import { TablePanel } from "./table.js";
import { TravelBar } from "./travel.js";

const PANELS = {
  numbers: NumbersPanel,
  table: TablePanel,
  details: DetailsPanel,
  text: TextPanel,
  frame: FramePanel,
  flame: FlamePanel,
  plot: PlotPanel,
};

export function mount(root, options) {
  return new Shown(root, options);
}

class Shown {
  constructor(root, options) {
    this.options = options;
    this.root = root;
    this.panels = [];
    this.released = []; // what has controls listen no more
    this.sources = new Map();
    this.waiting = new Set(); // panels to draw with the next frame
    root.classList.add("hm");
    root.dataset.theme = options.theme();
    this.notice = element("div", "hm-notice");
    this.notice.setAttribute("role", "status");
    this.notice.hidden = true;
    this.bar = element("div", "hm-controls");
    this.grid = element("div", "hm-grid");
    this.at = null; // the moment that is shown, in seconds since the epoch; null: the present
    this.job = ""; // the one that is shown alone, by its id; empty: all
    this.travel = new TravelBar((at) => this.go(at), (job) => this.choose(job));
    root.replaceChildren(this.notice, ...(options.travel ? [this.travel.node] : []), this.bar, this.grid);
    this.attached = new Promise((resolve) => {
      const look = () => (document.body.contains(root) ? resolve() : requestAnimationFrame(look));
      look();
    });
    this.bokeh = () => (this.library ??= options.bokeh());
  }

  show(page, params = {}) {
    const { at, job, ...own } = params;
    if (at !== undefined) this.at = at === "" ? null : Number(at);
    else if (job !== undefined && job !== this.job) this.at = null; // it may not have run then
    if (job !== undefined) this.job = job;
    this.travel.reset(this.at, this.job);
    this.asked = { page, params: own };
    this.ask();
  }

  ask() {
    const { page } = this.asked;
    const params = { ...this.asked.params };
    if (this.at !== null) params.at = String(this.at);
    if (this.job) params.job = this.job;
    this.options.send({ type: "open", page, params });
  }

  // Show another moment.
  go(at) {
    this.at = at;
    if (this.asked) this.ask();
  }

  // Show one job alone, or all.
  choose(job) {
    if (this.asked) this.show(this.asked.page, { ...this.asked.params, job });
  }

  // The channel is there again.
  again() {
    if (this.asked) this.show(this.asked.page, this.asked.params);
  }

  // The theme is another: plots are drawn anew, of what is here.
  repaint() {
    this.root.dataset.theme = this.options.theme();
    if (this.page) this.build(this.page, this.sources);
  }

  receive(message) {
    if (message.type === "page") this.build(message);
    else if (message.type === "data") this.take(message);
    else if (message.type === "refused" || message.type === "gone") this.say(message.reason);
  }

  say(text) {
    this.notice.textContent = text ?? "";
    this.notice.hidden = !text;
  }

  source(name) {
    if (!this.sources.has(name)) this.sources.set(name, new Source(name));
    return this.sources.get(name);
  }

  build(message, sources = new Map()) {
    for (const panel of this.panels) panel.close();
    for (const release of this.released.splice(0)) release();
    this.waiting.clear();
    this.sources = sources;
    this.page = message;
    this.asked = { page: message.name, params: message.params };
    this.say("");
    this.panels = message.panels.map((spec, index) => new PANELS[spec.panel](spec, this, message.plots[index]));
    this.grid.replaceChildren(...this.panels.map((panel) => this.framed(panel)));
    this.bar.replaceChildren(...message.controls.map((spec) => this.control(spec)));
    this.bar.hidden = !message.controls.length;
    this.panels.forEach((panel) => this.later(panel));
    this.options.opened?.(message);
  }

  framed(panel) {
    const { spec } = panel;
    const box = element("section", "hm-panel");
    box.style.setProperty("--span", spec.span ?? 12);
    if (spec.title) {
      const title = element("h2", "", spec.title);
      if (spec.hint) {
        const hint = element("span", "hm-hint", spec.hint);
        title.append(hint);
        title.title = spec.hint; // where there is no room for all of it
      }
      box.append(title);
    }
    box.append(panel.node);
    return box;
  }

  control(spec) {
    const value = this.page.params[spec.param] ?? "";
    const set = (fresh) => this.show(this.page.name, { ...this.page.params, [spec.param]: fresh });
    if (spec.control === "press") return this.press(spec);
    const label = element("label", "hm-control");
    label.append(element("span", "", spec.title));
    let field;
    if (spec.control === "choice") {
      field = element("select");
      const options = (rows) => {
        const nodes = rows.map(([key, text]) => {
          const option = element("option", "", text);
          option.value = key;
          option.selected = String(key) === value;
          return option;
        });
        field.replaceChildren(...nodes);
      };
      if (spec.source) {
        const source = this.source(spec.source);
        const draw = () => {
          if (document.activeElement === field) return;
          options((source.data.key ?? []).map((key, place) => [key, source.data.label[place]]));
        };
        source.listeners.add(draw);
        this.released.push(() => source.listeners.delete(draw));
        draw();
      } else options(spec.values ?? []);
      field.addEventListener("change", () => set(field.value));
    } else {
      field = element("input");
      field.type = spec.control === "switch" ? "checkbox" : "search";
      if (spec.control === "switch") field.checked = value === "1";
      else field.value = value;
      field.placeholder = spec.placeholder ?? "";
      field.addEventListener("change", () => set(spec.control === "switch" ? (field.checked ? "1" : "") : field.value));
    }
    label.append(field);
    return label;
  }

  press(spec) {
    const button = element("button", "hm-button", spec.title);
    button.type = "button";
    button.addEventListener("click", () => {
      const params = { ...this.page.params, [spec.param]: spec.value };
      if (spec.again) params[spec.again] = Date.now().toString(36);
      this.show(this.page.name, params);
    });
    return button;
  }

  take(message) {
    for (const op of message.ops) this.source(op.source).apply(op);
    if (message.error !== undefined) this.say(message.error);
    if (message.jobs) this.travel.choices(message.jobs);
    if (message.record) this.travel.known(message.record, message.over);
    if (message.at === undefined) return;
    this.travel.arrived(message.at);
    if (message.at === null && message.error === undefined) this.say("");
    this.options.moved?.(message.at);
  }

  // Draw a panel with the next frame, however often it changes until then.
  later(panel) {
    this.waiting.add(panel);
    if (this.frame) return;
    const draw = () => {
      clearTimeout(this.frame);
      this.frame = 0;
      const panels = [...this.waiting];
      this.waiting.clear();
      for (const one of panels) if (this.panels.includes(one) && (one.document || !one.ready)) one.draw();
    };
    this.frame = setTimeout(draw, 16);
  }

  open(opens, row) {
    const params = opens.page ? {} : { ...this.page.params };
    for (const [param, column] of Object.entries(opens.params)) params[param] = String(row[column] ?? "");
    Object.assign(params, opens.fixed ?? {});
    this.show(opens.page || this.page.name, params);
  }

  async act(act, row) {
    if (!this.options.act) {
      this.say("Nothing can be done from here: this is a record of a cluster.");
      return;
    }
    const args = Object.fromEntries(Object.entries(act.args).map(([arg, column]) => [arg, row[column]]));
    try {
      await this.options.act(act.name, args, (text) => this.confirm(act.title, text));
    } catch (error) {
      this.say(String(error.message ?? error));
    }
  }

  // Ask before something is done that can not be undone: whether to go on.
  confirm(title, text) {
    const dialog = element("dialog", "hm-dialog");
    dialog.append(element("h2", "", title), element("p", "", text));
    const [no, yes] = [element("button", "hm-button", "Leave it"), element("button", "hm-button hm-danger", title)];
    dialog.append(no, yes);
    this.root.append(dialog);
    return new Promise((resolve) => {
      const end = (answer) => {
        dialog.remove();
        resolve(answer);
      };
      no.addEventListener("click", () => end(false));
      yes.addEventListener("click", () => end(true));
      dialog.addEventListener("cancel", () => end(false));
      dialog.showModal();
      no.focus();
    });
  }

  close() {
    this.travel.stop();
    for (const panel of this.panels) panel.close();
    this.panels = [];
    this.root.replaceChildren();
  }
}

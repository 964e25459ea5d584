// A Bokeh figure whose sources are those of the page: operations are passed on as stream and patch.

import { element } from "./format.js";
import { painted } from "./theme.js";

const forPlots = (column) => column.map((value) => (value === null ? NaN : value));

function converted(data) {
  return Object.fromEntries(Object.entries(data).map(([name, column]) => [name, forPlots(column)]));
}

export class PlotPanel {
  constructor(spec, page, item) {
    this.spec = spec;
    this.page = page;
    this.item = item;
    this.bound = []; // [source, listener]
    this.open = []; // operations, by source, that came since the last drawing
    this.node = element("div", "hm-plot");
    this.place = element("div");
    this.note = element("div", "hm-empty");
    this.node.append(this.note, this.place);
    this.ready = this.show();
  }

  async show() {
    const Bokeh = await this.page.bokeh();
    Bokeh.set_log_level("error"); // it warns of every figure that has no data yet
    await this.page.attached;
    if (this.closed) return;
    try {
      this.views = await Bokeh.embed.embed_item(painted(this.item, this.page.options.theme()), this.place);
    } catch (error) {
      if (this.closed) return; // somebody has gone on to another page meanwhile
      throw error;
    }
    if (this.closed) return this.close();
    this.plot = this.views.roots[0].model;
    this.document = this.plot.document;
    for (const name of this.spec.sources) this.bind(name);
    if (this.spec.factors) this.bindFactors(this.spec.factors);
    if (this.spec.grows) this.bindHeight(this.spec.grows);
    this.draw();
    this.node.dataset.drawn = "1"; // for who waits for it
  }

  bind(name) {
    const source = this.page.source(name);
    const model = this.document.get_model_by_name(`source:${name}`);
    model.data = converted(source.data);
    const listener = (op) => {
      this.open.push([model, source, op]);
      this.page.later(this);
    };
    source.listeners.add(listener);
    this.bound.push([source, listener]);
    if (this.spec.opens && (this.spec.opens_source || this.spec.sources[0]) === name) {
      model.selected.change.connect(() => {
        const [place] = model.selected.indices;
        if (place === undefined) return;
        model.selected.indices = [];
        this.page.open(this.spec.opens, source.row(place));
      });
    }
  }

  bindFactors(factors) {
    const source = this.page.source(factors.source);
    const draw = () => {
      const values = [...(source.data[factors.column] ?? [])];
      if (factors.axis === "y") values.reverse(); // the first one is the uppermost
      this.plot[`${factors.axis}_range`].factors = values;
      if (factors.size) {
        const most = factors.most || 2000;
        this.plot.height = Math.min(most, Math.max(this.spec.height ?? 260, values.length * factors.size + 50));
      }
    };
    source.listeners.add(draw);
    this.bound.push([source, draw]);
    draw();
  }

  bindHeight(grows) {
    const source = this.page.source(grows.source);
    const draw = () => {
      const height = Math.min(grows.most, Math.max(this.spec.height ?? 260, source.length * grows.size));
      if (this.plot.height !== height) this.plot.height = height;
    };
    source.listeners.add(draw);
    this.bound.push([source, draw]);
    draw();
  }

  // What came since the last time: one change of each Bokeh source where that is possible.
  draw() {
    const open = this.open.splice(0);
    const whole = new Set(open.filter(([, , op]) => op.op === "reset" || op.op === "remove").map(([model]) => model));
    for (const model of whole) {
      const [, source] = open.find(([one]) => one === model);
      model.data = converted(source.data);
    }
    for (const [model, , op] of open) {
      if (whole.has(model)) continue;
      if (op.op === "stream") model.stream(converted(op.data), op.rollover || undefined);
      else if (op.op === "patch") model.patch(patches(op.data));
    }
    const empty = this.spec.empty && this.spec.sources.every((name) => !this.page.source(name).length);
    this.note.textContent = empty ? this.spec.empty : "";
    this.place.hidden = Boolean(empty);
  }

  close() {
    this.closed = true;
    for (const [source, listener] of this.bound) source.listeners.delete(listener);
    this.views?.clear?.();
    this.document?.clear?.();
  }
}

function patches(data) {
  const all = Object.entries(data).map(([name, [places, values]]) => {
    const fixed = forPlots(values);
    return [name, places.map((place, index) => [place, fixed[index]])];
  });
  return new Map(all);
}

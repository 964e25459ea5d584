// The tables behind a page, and what changes in them: the operations of sources.py.

export class Source {
  constructor(name) {
    this.name = name;
    this.data = {};
    this.listeners = new Set(); // called with the operation, after it was done here
  }

  get length() {
    for (const column of Object.values(this.data)) return column.length;
    return 0;
  }

  row(place) {
    const row = {};
    for (const [name, column] of Object.entries(this.data)) row[name] = column[place];
    return row;
  }

  apply(op) {
    if (op.op === "reset") {
      this.data = Object.fromEntries(Object.entries(op.data).map(([name, column]) => [name, column.slice()]));
    } else if (op.op === "remove") {
      for (const column of Object.values(this.data)) for (const place of op.rows) column.splice(place, 1);
    } else if (op.op === "patch") {
      for (const [name, [places, values]] of Object.entries(op.data)) {
        const column = this.data[name];
        places.forEach((place, index) => (column[place] = values[index]));
      }
    } else if (op.op === "stream") {
      for (const [name, values] of Object.entries(op.data)) {
        const column = (this.data[name] ??= []);
        for (const value of values) column.push(value);
        if (op.rollover && column.length > op.rollover) column.splice(0, column.length - op.rollover);
      }
    }
    for (const listener of this.listeners) listener(op);
  }
}

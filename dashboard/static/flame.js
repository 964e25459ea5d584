// What makes a flame graph (dashboard/plots/flame.py) searchable: a click shows a box alone, Escape all of them; a search
// marks boxes and says how much of the time they have. Works on the boxes that are there and knows no data.

export function attach(root) {
  const boxes = Array.from(root.querySelectorAll(".himalia-flame-box"));
  const whole = root.querySelector(".himalia-flame-boxes");
  if (!whole || root.querySelector("input")) return;
  const bar = document.createElement("div");
  bar.style.cssText = "font:13px sans-serif;margin:4px 0";
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "search functions";
  search.setAttribute("aria-label", "search functions");
  const found = document.createElement("span");
  found.setAttribute("role", "status");
  found.style.marginLeft = "8px";
  bar.append(search, found);
  whole.before(bar);

  const widths = new Map();
  const colours = new Map(boxes.map((box) => [box, box.style.backgroundColor]));
  const cellOf = (box) => box.parentElement;
  const isInside = (cell, outer) => outer.contains(cell);
  for (const box of boxes) {
    widths.set(cellOf(box), cellOf(box).style.width);
    box.tabIndex = 0;
    box.style.cursor = "pointer";
  }

  function zoom(target) {
    for (const box of boxes) {
      const cell = cellOf(box);
      const onWay = target && isInside(target, cell); // target and those around it fill the width
      const aside = target && !onWay && !isInside(cell, target);
      cell.style.display = aside ? "none" : "";
      cell.style.width = onWay ? "100%" : widths.get(cell);
    }
  }

  function share(cell) {
    let part = 1;
    for (let at = cell; at !== whole; at = at.parentElement) {
      if (widths.has(at)) part *= parseFloat(widths.get(at)) / 100;
    }
    return part;
  }

  function mark() {
    const text = search.value.trim().toLowerCase();
    let part = 0;
    const marked = [];
    for (const box of boxes) {
      const hit = text !== "" && box.title.toLowerCase().includes(text);
      box.style.backgroundColor = hit ? "#cc79a7" : colours.get(box);
      if (hit && !marked.some((outer) => isInside(cellOf(box), outer))) {
        marked.push(cellOf(box));
        part += share(cellOf(box));
      }
    }
    found.textContent = text === "" ? "" : `${(100 * part).toFixed(1)} % of the time`;
  }

  whole.addEventListener("click", (event) => {
    const box = event.target.closest(".himalia-flame-box");
    if (box) zoom(cellOf(box));
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") zoom(null);
    else if (event.key === "Enter" && boxes.includes(event.target)) zoom(cellOf(event.target));
  });
  search.addEventListener("input", mark);
}

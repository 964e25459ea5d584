// Puts buttons beside what the notebook shows of references, actors and memory. See buttons.py and cards.py.
//
// A card is replaced whenever it changes, so a button is kept and moved into the new one: it would forget that it waits
// for a second press. It reacts to the end of a press, not to a click, which is none if the card was replaced meanwhile.

const HINTS = {
  cancel: "Cancel the task and those that it has submitted",
  release: "Free the value: get of this reference raises from then on",
  kill: "End the actor; its state is lost",
  remove: "Give back what the group has reserved; its actors end, and its tasks fail",
  forget: "Delete the variable, or what IPython keeps of the cell's last line",
};
const ASKED_TWICE = new Set(["release", "kill", "remove", "forget"]); // what can not be undone
const PATIENCE = 4000; // milliseconds for the second press

function initialize({ model }) {
  const prefix = model.get("prefix");
  const made = new Map();

  function makeButton(token, action, label) {
    const button = document.createElement("button");
    const rest = () => {
      button.textContent = label;
      delete button.dataset.asked;
    };
    const press = () => {
      if (ASKED_TWICE.has(action) && !button.dataset.asked) {
        button.dataset.asked = "yes";
        button.textContent = `really ${label}?`;
        setTimeout(rest, PATIENCE);
        return;
      }
      rest();
      model.send({ token, action });
    };
    button.type = "button";
    button.title = HINTS[action] ?? action;
    button.style.cssText =
      "margin-left:8px;padding:0 8px;font:inherit;font-size:12px;line-height:18px;cursor:pointer;border-radius:3px;" +
      "color:inherit;background:transparent;border:1px solid currentColor;opacity:.7";
    rest();
    button.addEventListener("pointerup", (event) => event.button === 0 && press());
    button.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && press());
    return button;
  }

  function fill(place) {
    const token = place.dataset.himalia;
    if (!token.startsWith(prefix)) return;
    for (const action of (place.dataset.actions ?? "").split(" ").filter(Boolean)) {
      const key = `${token} ${action}`;
      if (!made.has(key)) made.set(key, makeButton(token, action, place.dataset.label ?? action));
      const button = made.get(key);
      if (button.parentNode !== place) place.append(button);
    }
  }

  function look(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    if (node.matches("[data-himalia]")) fill(node);
    for (const place of node.querySelectorAll("[data-himalia]")) fill(place);
  }

  const observer = new MutationObserver((changes) => {
    for (const change of changes) change.addedNodes.forEach(look);
  });
  look(document.body);
  observer.observe(document.body, { childList: true, subtree: true });

  return () => {
    observer.disconnect();
    for (const button of made.values()) button.remove();
  };
}

export default { initialize };

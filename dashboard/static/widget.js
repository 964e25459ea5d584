// A page of the dashboard in a notebook. See kernel_ext/widgets/channel.py for what may be lost, and when.

const LIBRARIES = (globalThis.himaliaLibraries ??= new Map()); // by id of the model that brings it: for all widgets

// BokehJS, out of the kernel. As a module, so that another Bokeh in the page keeps its place.
async function loadLibrary(model) {
  const id = model.get("library").slice("IPY_MODEL_".length);
  if (!LIBRARIES.has(id)) LIBRARIES.set(id, readLibrary(model, id));
  return LIBRARIES.get(id);
}

async function readLibrary(model, id) {
  const library = await model.widget_manager.get_model(id);
  const text = new TextDecoder().decode(library.get("script"));
  const script = `const root = {};\n(function () {${text}\n}).call(root);\nexport default root.Bokeh;\n`;
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    return (await import(address)).default;
  } finally {
    URL.revokeObjectURL(address);
  }
}

function pageTheme() {
  const { body } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast")) return "dark";
  if (body.classList.contains("vscode-light") || body.dataset.theme === "light") return "light";
  return body.dataset.theme === "dark" ? "dark" : "light";
}

function render({ model, el }) {
  const box = element("div");
  el.append(box);
  let have = -1; // number of the last text that was taken
  let asked = false;
  const acts = new Map(); // by number: who waits for the answer
  const shown = mount(box, {
    send: (message) => model.send(message),
    bokeh: () => loadLibrary(model),
    act,
    theme: pageTheme,
  });

  function ask(name, args, dry) {
    const number = Math.floor(Math.random() * 2 ** 40);
    return new Promise((resolve, reject) => {
      acts.set(number, (answer) => (answer.error ? reject(new Error(answer.error)) : resolve(answer)));
      model.send({ type: "act", number, name, args, dry_run: dry });
    });
  }

  // Actions say first what they would hit.
  async function act(name, args, confirm) {
    const plan = await ask(name, args, true);
    if (await confirm(plan.text)) shown.say((await ask(name, args, false)).text);
  }

  function take(message) {
    if (message.type === "acted") {
      acts.get(message.number)?.(message);
      acts.delete(message.number);
    } else shown.receive(message);
  }

  function begin() {
    const data = model.get("opening");
    if (!data?.byteLength) return;
    const opening = JSON.parse(new TextDecoder().decode(data));
    if (opening.number <= have) return;
    have = opening.number;
    asked = false;
    opening.texts.forEach(take);
    model.send({ type: "here" });
  }

  function hear(message, buffers) {
    if (message?.number === undefined || message.number <= have) return;
    if (message.number === have + 1) {
      have = message.number;
      take(JSON.parse(new TextDecoder().decode(buffers[0])));
    } else if (!asked) {
      asked = true;
      model.send({ type: "again" });
    }
  }

  model.on("change:opening", begin);
  model.on("msg:custom", hear);
  const observer = new MutationObserver(() => box.dataset.theme !== pageTheme() && shown.repaint());
  observer.observe(document.body, { attributes: true });
  begin();
  model.send({ type: "again" });
  return () => {
    observer.disconnect();
    model.off("change:opening", begin);
    model.off("msg:custom", hear);
    shown.close();
  };
}

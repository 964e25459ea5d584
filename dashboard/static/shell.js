// The dashboard as a page of its own: menu, address, theme, and the websocket that brings pages.

import { mount } from "./client.js";
import { element } from "./format.js";

const place = new URL(location.href);
const embedded = place.searchParams.get("embed") === "1";
const base = new URL(document.baseURI);
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
let theme = place.searchParams.get("theme") ?? remembered() ?? (dark.matches ? "dark" : "light");
let socket;
let waits = 0; // since which the socket has been closed, in attempts
document.body.classList.toggle("embedded", embedded);
document.body.dataset.theme = theme;

function remembered() {
  try {
    return localStorage.getItem("himalia-theme");
  } catch {
    return null;
  }
}

function loadBokeh() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("static/bokeh.min.js", base);
    script.onload = () => resolve(window.Bokeh);
    script.onerror = () => reject(new Error("BokehJS could not be loaded"));
    document.head.append(script);
  });
}

function told(name) {
  return document.querySelector(`meta[name="himalia-${name}"]`)?.content ?? "";
}

// What shows that a request comes from a page of ours. Behind the Jupyter server, which logs us in, it is that server's.
function proof() {
  if (told("request-value")) return { [told("request-header")]: told("request-value") };
  const found = document.cookie.split("; ").find((part) => part.startsWith("_xsrf="));
  return found ? { "X-XSRFToken": found.slice("_xsrf=".length) } : {};
}

async function post(path, body) {
  const answer = await fetch(new URL(path, base), {
    method: "POST",
    headers: { "Content-Type": "application/json", ...proof() },
    body: JSON.stringify(body),
  });
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(result.error ?? `${answer.status} ${answer.statusText}`);
  return result;
}

// Actions say first what they would hit.
async function act(name, args, confirm) {
  const plan = await post(`api/v1/actions/${name}`, { ...args, dry_run: true });
  if (await confirm(plan.text)) {
    const done = await post(`api/v1/actions/${name}`, { ...args, dry_run: false });
    shown.say(done.text);
  }
}

function opened(page) {
  byId("title").textContent = page.title;
  byId("about").textContent = page.about;
  document.title = `${page.title} – Himalia`;
  const address = new URL(`page/${page.name}`, base);
  for (const [key, value] of Object.entries(page.params)) address.searchParams.set(key, value);
  if (page.at) address.searchParams.set("at", page.at);
  if (page.job) address.searchParams.set("job", page.job);
  if (embedded) address.searchParams.set("embed", "1");
  if (place.searchParams.has("theme")) address.searchParams.set("theme", theme);
  if (address.href !== location.href) history[shownBefore ? "pushState" : "replaceState"]({}, "", address);
  shownBefore = true;
  drawMenu(page);
}
let shownBefore = false;

function moved(at) {
  const address = new URL(location.href);
  if (at === null) address.searchParams.delete("at");
  else address.searchParams.set("at", at.toFixed(3));
  if (address.href !== location.href) history.replaceState({}, "", address);
}

const SAVED = [
  ["api/v1/report", "himalia-run.html", "Save the run", "One HTML file with every page and the slider through time: it opens without a cluster"],
  ["api/v1/timeline", "himalia-trace.json", "Save a trace", "What ran when, for Perfetto or chrome://tracing"],
];

function ofJob(path, job) {
  const address = new URL(path, base);
  if (job) address.searchParams.set("job", job);
  return address;
}

function drawMenu(page) {
  const links = page.menu.map((entry) => {
    const link = element("a", "", entry.title);
    link.href = ofJob(`page/${entry.name}`, page.job);
    link.title = entry.about;
    if (entry.name === page.name) link.setAttribute("aria-current", "page");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      shown.show(entry.name, {});
    });
    return link;
  });
  const bottom = element("div", "bottom");
  const button = element("button", "hm-button", theme === "dark" ? "Light" : "Dark");
  button.title = "Change the colours";
  button.addEventListener("click", () => {
    theme = theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("himalia-theme", theme);
    } catch {} // a private window keeps nothing
    document.body.dataset.theme = theme;
    shown.repaint();
  });
  const saved = SAVED.map(([path, file, text, title]) => {
    const link = element("a", "saved", text);
    link.href = ofJob(path, page.job);
    link.download = file;
    link.title = title;
    return link;
  });
  bottom.append(element("div", "link", state), ...saved, button);
  byId("menu").replaceChildren(element("div", "name", "Himalia"), ...links, bottom);
}

let state = "";
function setState(text) {
  state = text;
  const node = document.querySelector("#menu .link");
  if (node) node.textContent = text;
}

function connect() {
  const address = new URL("api/v1/stream", base);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address);
  socket.addEventListener("open", () => {
    waits = 0;
    setState("live");
    shown.say("");
    if (shown.asked) shown.again();
    else fromAddress();
  });
  socket.addEventListener("message", (event) => shown.receive(JSON.parse(event.data)));
  socket.addEventListener("close", () => {
    waits += 1;
    setState("not connected");
    if (waits > 1) lookWhoIsThere();
    if (waits > 2) shown.say("The dashboard does not answer: the cluster has ended, or the connection is down.");
    setTimeout(connect, Math.min(5000, 250 * 2 ** Math.min(waits, 5)));
  });
}

// Somebody answers who does not know our login: another cluster at this address, whose login page comes instead.
async function lookWhoIsThere() {
  const answer = await fetch(new URL("api/v1/version", base), { headers: proof() }).catch(() => null);
  if (answer?.status === 401) location.reload();
}

function fromAddress() {
  const here = new URL(location.href);
  const name = here.pathname.slice(base.pathname.length).replace(/^page\//, "") || "overview";
  const params = Object.fromEntries([...here.searchParams].filter(([key]) => !["embed", "theme", "token"].includes(key)));
  params.at ??= "";
  params.job ??= "";
  shown.show(name, params);
}

const shown = mount(byId("page"), {
  send: (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message)),
  bokeh: loadBokeh,
  act,
  opened,
  theme: () => theme,
  travel: !embedded,
  moved,
});
window.addEventListener("popstate", fromAddress);
connect();

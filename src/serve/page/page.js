// The page: lists that change while one looks. It talks to its own server only, and writes text, never markup.
"use strict";

const byId = (id) => document.getElementById(id);
const number = (value) => Math.round(value).toLocaleString("en");
const MARKED_FOR = 4000; // How long a mark stays, in milliseconds.
const ASK_EVERY = 1000;

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Requests, with the token if the server wants one.

function headers(more) {
  const token = sessionStorage.getItem("token");
  return token ? { ...more, Authorization: "Bearer " + token } : more || {};
}

async function request(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.status === 401) byId("token-form").hidden = false;
  if (!response.ok) {
    const problem = await response.json().catch(() => ({ detail: "status " + response.status }));
    throw new Error(problem.detail);
  }
  return response;
}

const getJson = async (path) => (await request(path)).json();

// Follows a stream of events until it is aborted; after a break it goes on behind the last event.
async function follow(path, signal, take, failed) {
  let last = "";
  while (!signal.aborted) {
    try {
      const response = await request(path, { signal, headers: last ? { "Last-Event-ID": last } : {} });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const lines = event.split("\n");
          const field = (name) => lines.filter((line) => line.startsWith(name + ":")).map((line) => line.slice(name.length + 1).trim());
          const data = field("data").join("\n");
          last = field("id")[0] ?? last;
          if (data) take(JSON.parse(data));
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
}

// A list that shows what came, what went and what moved.

class LiveList {
  constructor(list, said) {
    Object.assign(this, { list, said, shown: null, marks: new Map() });
  }

  clear() {
    this.shown = null;
    this.marks.clear();
    this.list.replaceChildren();
    this.said.textContent = "";
  }

  show(items) {
    const now = Date.now();
    const places = new Map(items.map((entry, place) => [entry.item, place]));
    const came = [], went = [];
    if (this.shown) {
      const before = new Map(this.shown.map((entry, place) => [entry.item, place]));
      for (const [item, place] of places) {
        const old = before.get(item);
        if (old === undefined) { this.marks.set(item, { kind: "came", at: now }); came.push(item); }
        else if (old !== place && this.marks.get(item)?.kind !== "came") this.marks.set(item, { kind: old > place ? "up" : "down", at: now });
      }
      for (const [item, place] of before) {
        if (!places.has(item)) { this.marks.set(item, { kind: "went", at: now, place }); went.push(item); }
      }
    }
    this.shown = items;
    if (came.length + went.length > 0) {
      const words = [came.length ? came.join(", ") + " came" : "", went.length ? went.join(", ") + " went" : ""];
      this.said.textContent = words.filter(Boolean).join("; ");
    }
    this.draw();
    clearTimeout(this.timer);
    if (this.marks.size) this.timer = setTimeout(() => this.draw(), MARKED_FOR + 50);
  }

  draw() {
    const now = Date.now();
    for (const [item, mark] of this.marks) {
      const isBack = mark.kind === "went" && this.shown.some((entry) => entry.item === item);
      if (now - mark.at > MARKED_FOR || isBack) this.marks.delete(item);
    }
    const largest = Math.max(...this.shown.map((entry) => entry.score ?? entry.count ?? 0), 0) || 1;
    const rows = this.shown.map((entry, place) => this.row(entry, place + 1, largest));
    for (const [item, mark] of this.marks) {
      if (mark.kind === "went") rows.splice(Math.min(mark.place, rows.length), 0, this.row({ item }, "", largest));
    }
    // The focus stays where it was, though the rows are new.
    const focus = document.activeElement;
    const kept = this.list.contains(focus) ? { item: focus.closest("li").dataset.item, kind: focus.className } : null;
    this.list.replaceChildren(...rows);
    if (kept) {
      const row = rows.find((row) => row.dataset.item === kept.item);
      row?.getElementsByClassName(kept.kind)[0]?.focus();
    }
  }

  row(entry, rank, largest) {
    const mark = this.marks.get(entry.item);
    const row = make("li", mark?.kind);
    row.dataset.item = entry.item;
    row.append(make("span", "rank", rank));
    const middle = make("div");
    const name = make("button", "name", entry.item);
    name.title = entry.item;
    name.addEventListener("click", () => showItem(entry.item));
    middle.append(name);
    const amount = entry.score ?? entry.count;
    if (amount !== undefined) {
      const bar = make("div", "bar");
      bar.style.width = Math.max(2, (100 * amount) / largest) + "%";
      middle.append(bar);
    }
    const why = make("span", "why");
    const word = { came: "new", went: "gone", up: "▲", down: "▼" }[mark?.kind];
    if (word) why.append(make("span", "mark", word));
    const parts = [];
    if (entry.score !== undefined) parts.push(entry.score.toLocaleString("en", { maximumFractionDigits: 3 }));
    if (entry.count) parts.push(entry.count === 1 ? "1 basket" : number(entry.count) + " baskets");
    why.append(parts.join(" · "));
    row.append(middle, why);
    if (mark?.kind === "went") {
      name.disabled = true;
    } else {
      const add = make("button", "add", "+");
      add.setAttribute("aria-label", "Put " + entry.item + " into the cart");
      add.addEventListener("click", () => putIn(entry.item));
      row.append(add);
    }
    return row;
  }
}

// One item.

const itemList = new LiveList(byId("item-list"), byId("item-said"));
let itemStream = new AbortController();

function showItem(item) {
  itemStream.abort();
  itemStream = new AbortController();
  itemList.clear();
  byId("item-title").textContent = "Goes well with " + item;
  byId("item-input").value = item;
  const note = byId("item-note");
  note.textContent = "…";
  const path = "/v1/items/" + encodeURIComponent(item) + "/stream?n=8";
  const take = (answer) => {
    note.textContent = answer.fallback ? "No list yet: these are the popular items." : "Changed last in epoch " + number(answer.changed) + ".";
    itemList.show(answer.items);
  };
  follow(path, itemStream.signal, take, (error) => { note.textContent = error.message; });
}

byId("item-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const item = byId("item-input").value.trim();
  if (item) showItem(item);
});

// A cart. The last item is the newest.

const cartList = new LiveList(byId("cart-list"), byId("cart-said"));
const cart = [];
let question = 0;

function putIn(item) {
  if (!cart.includes(item)) cart.push(item);
  drawCart();
}

function drawCart() {
  byId("cart").replaceChildren(...cart.map((item) => {
    const row = make("li");
    row.dataset.item = item;
    const out = make("button", "out", "×");
    out.setAttribute("aria-label", "Take " + item + " out of the cart");
    out.addEventListener("click", () => {
      cart.splice(cart.indexOf(item), 1);
      drawCart();
    });
    row.append(make("span", "", item), out);
    return row;
  }));
  ask();
}

async function ask() {
  const asked = ++question;
  const note = byId("cart-note");
  if (cart.length === 0) {
    cartList.clear();
    note.textContent = "Put something in: by + beside an item, or a click below.";
    return;
  }
  try {
    const body = JSON.stringify({ items: cart, n: 8 });
    const options = { method: "POST", body, headers: { "Content-Type": "application/json" } };
    const answer = await (await request("/v1/recommendations", options)).json();
    // An answer that was overtaken is not shown.
    if (asked !== question) return;
    note.textContent = answer.fallback ? "Nothing goes with these yet: these are the popular items." : "Recommended as of epoch " + number(answer.epoch) + ".";
    cartList.show(answer.items);
  } catch (error) {
    if (asked === question) note.textContent = error.message;
  }
}

// The numbers, and what is popular.

class Line {
  constructor(id) {
    this.line = byId(id).firstElementChild;
    this.values = [];
  }

  add(value) {
    this.values = [...this.values, value].slice(-60);
    const largest = Math.max(...this.values, 1);
    const start = 60 - this.values.length;
    this.line.setAttribute("points", this.values.map((value, x) => start + x + "," + (19 - (18 * value) / largest).toFixed(2)).join(" "));
  }
}

const lines = { rate: new Line("rate-line"), changes: new Line("changes-line"), lag: new Line("lag-line") };
let before = null;

function measure(name, value) {
  byId(name).textContent = number(value);
  lines[name].add(value);
}

async function look() {
  const state = byId("state");
  try {
    const status = await getJson("/v1/status");
    const at = performance.now();
    state.className = "state " + (status.waits_for ? "" : "ready");
    state.textContent = status.waits_for ?? status.role + ", ready";
    byId("items").textContent = number(status.items);
    byId("epoch").textContent = number(status.epoch);
    if (before) {
      const seconds = (at - before.at) / 1000;
      measure("rate", Math.max(0, status.records - before.records) / seconds);
      measure("changes", Math.max(0, status.changes - before.changes) / seconds);
      measure("lag", status.lag);
    }
    before = { at, records: status.records, changes: status.changes };
  } catch (error) {
    before = null;
    state.className = "state away";
    state.textContent = error instanceof TypeError ? "the server does not answer" : error.message;
  }
}

async function lookAtPopular() {
  const { items } = await getJson("/v1/popular?n=24");
  byId("known").replaceChildren(...items.map(({ item }) => {
    const option = make("option");
    option.value = item;
    return option;
  }));
  const list = byId("popular");
  // Nothing moves under a finger or a focus.
  if (list.matches(":hover, :focus-within")) return;
  list.replaceChildren(...items.map(({ item, count }) => {
    const row = make("li");
    const button = make("button", "", item);
    button.dataset.item = item;
    button.setAttribute("aria-label", "Put " + item + " into the cart");
    if (count) button.append(make("small", "", number(count)));
    button.addEventListener("click", () => { putIn(item); if (!itemList.shown) showItem(item); });
    row.append(button);
    return row;
  }));
  if (!itemList.shown && items.length && !byId("item-input").value) showItem(items[0].item);
}

function every(milliseconds, act) {
  const again = async () => {
    if (!document.hidden) await act().catch(() => {});
    setTimeout(again, milliseconds);
  };
  again();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  byId("token-form").hidden = true;
  look();
  lookAtPopular().catch(() => {});
});

every(1000, look);
every(3000, lookAtPopular);
every(ASK_EVERY, async () => { if (cart.length) await ask(); });

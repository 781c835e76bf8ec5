"use strict";
/* Graphs of a report: pan, zoom and pin. Without this script they are still pictures, whose edges say what they are. */

const STEP = 60;      // units of a press of an arrow key
const SMALLEST = 0.6; // scale below which a graph is not fitted into its frame at first
const LISTED = 12;    // edges of a pinned node that are listed

function made(name, parent, text) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  parent.append(element);
  return element;
}

function enliven(svg, number) {
  const frame = svg.parentElement;
  const whole = { x: 0, y: 0, width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
  const nodes = [...svg.querySelectorAll(".wb-node")];
  const edges = [...svg.querySelectorAll(".wb-edge")];
  const names = new Map(nodes.map((node) => [node.dataset.node, node.querySelector("text").textContent]));
  const pinned = new Set();
  let view = { ...whole };
  let hovered = null;

  /* ---- the part that is seen */

  function show(next) {
    view = next;
    svg.setAttribute("viewBox", [view.x, view.y, view.width, view.height].join(" "));
  }

  function shape() {
    const box = svg.getBoundingClientRect();
    return { width: box.width || 1, height: box.height || 1 };
  }

  function fit() {
    show({ ...whole });
  }

  function begin() {
    const { width, height } = shape();
    const scale = Math.min(width / whole.width, height / whole.height);
    if (scale >= 1) {
      show({ x: (whole.width - width) / 2, y: (whole.height - height) / 2, width, height });
    } else if (scale >= SMALLEST) {
      fit();
    } else { // the output and what is nearest to it, large enough to be read
      const part = { width: width / SMALLEST, height: height / SMALLEST };
      const x = part.width > whole.width ? (whole.width - part.width) / 2 : middle(nodes[nodes.length - 1]) - part.width / 2;
      show({ x, y: 0, ...part });
    }
  }

  function middle(node) {
    const box = node.getBBox();
    return box.x + box.width / 2;
  }

  function scale() {
    const { width, height } = shape();
    return Math.min(width / view.width, height / view.height);
  }

  function move(dx, dy) {
    show({ ...view, x: view.x + dx, y: view.y + dy });
  }

  /* Zoom by a factor, around a point of the window or the middle. */
  function zoom(factor, at) {
    const width = Math.min(Math.max(view.width / factor, 40), 8 * whole.width);
    const real = view.width / width;
    const point = at ? inside(at) : { x: view.x + view.width / 2, y: view.y + view.height / 2 };
    show({
      x: point.x - (point.x - view.x) / real,
      y: point.y - (point.y - view.y) / real,
      width,
      height: view.height / real,
    });
  }

  function inside(at) {
    const point = new DOMPoint(at.clientX, at.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return { x: point.x, y: point.y };
  }

  /* ---- pins */

  function pin(node) {
    const id = node.dataset.node;
    if (!pinned.delete(id)) pinned.add(id);
    mark();
    list();
  }

  function mark() {
    const picked = new Set(pinned);
    if (hovered) picked.add(hovered.dataset.node);
    const near = new Set();
    for (const edge of edges) {
      const on = picked.has(edge.dataset.from) || picked.has(edge.dataset.to);
      edge.classList.toggle("on", on);
      if (on) near.add(edge.dataset.from).add(edge.dataset.to);
    }
    for (const node of nodes) {
      node.classList.toggle("near", near.has(node.dataset.node) || node === hovered);
      node.classList.toggle("pinned", pinned.has(node.dataset.node));
    }
    svg.classList.toggle("picked", picked.size > 0);
  }

  /* The edges of pinned nodes, as text. */
  function list() {
    pins.replaceChildren();
    for (const id of pinned) {
      const line = made("p", pins);
      made("b", line, names.get(id));
      line.append(told(" from ", id, "to", "from"), told(" to ", id, "from", "to"));
    }
    clear.hidden = !pinned.size;
  }

  function told(word, id, here, there) {
    const own = edges.filter((edge) => edge.dataset[here] === id);
    own.sort((a, b) => Math.abs(b.dataset.weight) - Math.abs(a.dataset.weight));
    const rest = own.length > LISTED ? `, and ${own.length - LISTED} more` : "";
    const shown = own.slice(0, LISTED).map((edge) => `${names.get(edge.dataset[there])} ${signed(edge.dataset.weight)}`);
    return own.length ? ` ·${word}${shown.join(", ")}${rest}` : "";
  }

  function signed(text) {
    const value = Number(text);
    return `${value < 0 ? "-" : "+"}${Math.abs(value).toPrecision(3)}`;
  }

  function unpin() {
    pinned.clear();
    mark();
    list();
  }

  /* ---- tools */

  const tools = document.createElement("div");
  tools.className = "tools";
  const names_id = `nodes-${number}`;
  const search = made("input", tools);
  search.type = "search";
  search.placeholder = "pin a node by name";
  search.setAttribute("aria-label", "Pin a node by name");
  search.setAttribute("list", names_id);
  const options = made("datalist", tools);
  options.id = names_id;
  for (const name of names.values()) made("option", options).value = name;
  const button = (text, about, act) => {
    const element = made("button", tools, text);
    element.type = "button";
    element.title = about;
    element.setAttribute("aria-label", about);
    element.addEventListener("click", act);
    return element;
  };
  button("−", "Zoom out (−)", () => zoom(0.8));
  button("+", "Zoom in (+)", () => zoom(1.25));
  button("fit", "Show all of it (0)", fit);
  const clear = button("clear pins", "Clear all pins (Escape)", unpin);
  clear.hidden = true;
  made("span", tools, "drag to pan · click it, then the wheel zooms · click a node to pin its edges");
  frame.before(tools);
  const pins = document.createElement("div");
  pins.className = "pins";
  pins.setAttribute("aria-live", "polite");
  frame.after(pins);

  search.addEventListener("change", () => {
    const found = nodes.find((node) => names.get(node.dataset.node) === search.value.trim());
    search.setCustomValidity(found || !search.value ? "" : "there is no node of that name");
    search.reportValidity();
    if (!found) return;
    if (!pinned.has(found.dataset.node)) pin(found);
    const box = found.getBBox();
    show({ ...view, x: box.x + box.width / 2 - view.width / 2, y: box.y + box.height / 2 - view.height / 2 });
    search.value = "";
  });

  /* ---- mouse and keyboard */

  let drag = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    drag = { x: event.clientX, y: event.clientY, moved: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!drag.moved) svg.setPointerCapture(event.pointerId);
    svg.classList.add("moving");
    const by = scale();
    move(-dx / by, -dy / by);
    drag = { x: event.clientX, y: event.clientY, moved: true };
  });
  const end = () => {
    svg.classList.remove("moving");
    setTimeout(() => { drag = null; }); // after the click that ends a drag
  };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
  svg.addEventListener("click", (event) => {
    const node = event.target.closest(".wb-node");
    if (node && !(drag && drag.moved)) pin(node);
  });
  svg.addEventListener("pointerover", (event) => {
    const node = event.target.closest(".wb-node");
    if (node !== hovered) {
      hovered = node;
      mark();
    }
  });
  svg.addEventListener("pointerleave", () => {
    hovered = null;
    mark();
  });
  svg.addEventListener("wheel", (event) => {
    if (document.activeElement !== svg && !event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.04 : 0.0015)), event);
  }, { passive: false });
  const keys = {
    ArrowLeft: () => move(-STEP / scale(), 0), ArrowRight: () => move(STEP / scale(), 0),
    ArrowUp: () => move(0, -STEP / scale()), ArrowDown: () => move(0, STEP / scale()),
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "_": () => zoom(0.8),
    0: fit, Home: fit, Escape: unpin,
  };
  svg.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });

  frame.classList.add("live");
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "group");
  const fitting = Math.min(1, svg.getBoundingClientRect().width / whole.width);
  svg.style.height = `min(80vh, ${Math.max(Math.ceil(whole.height * Math.max(fitting, SMALLEST)), 160)}px)`;
  begin();
}

document.querySelectorAll("svg.wb-graph").forEach(enliven);

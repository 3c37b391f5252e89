"use strict";

/** A network whose hidden units drop at every update. */
(() => {
  const LAYERS = [4, 5, 5, 3], HIDDEN = [1, 2];
  const WIDTH = 460, HEIGHT = 300, RADIUS = 15, REMEMBERED = 40;
  const drawing = element("thinning"), slider = element("thinning-p");
  const random = generator(1);
  const places = LAYERS.map((count, layer) =>
    Array.from({ length: count }, (_, unit) => ({
      x: 30 + (layer * (WIDTH - 60)) / (LAYERS.length - 1),
      y: HEIGHT / 2 + (unit - (count - 1) / 2) * 58,
    })));
  const kept = LAYERS.map((count) => Array(count).fill(true));
  const droppable = LAYERS[1] + LAYERS[2];
  const state = { updates: 0, dropped: 0, drawn: 0, seen: new Set(), recent: [], droppable };
  const edges = [], units = [];

  for (let layer = 0; layer + 1 < LAYERS.length; layer++)
    places[layer].forEach((from, i) => places[layer + 1].forEach((to, j) => {
      const line = shape("line", { class: "edge", x1: from.x, y1: from.y, x2: to.x, y2: to.y });
      drawing.append(line);
      edges.push({ line, layer, i, j });
    }));
  places.forEach((column, layer) => column.forEach(({ x, y }, i) => {
    const circle = shape("circle", { class: "unit", cx: x, cy: y, r: RADIUS });
    const d = RADIUS * 0.5;
    const cross = shape("path", { class: "cross", d: `M${x - d} ${y - d}l${2 * d} ${2 * d}m0 ${-2 * d}l${-2 * d} ${2 * d}` });
    drawing.append(circle, cross);
    units.push({ circle, cross, layer, i });
  }));

  const rate = () => Number(slider.value);
  const count = (value) => value.toLocaleString("en");

  function draw() {
    for (const { line, layer, i, j } of edges)
      line.classList.toggle("gone", !(kept[layer][i] && kept[layer + 1][j]));
    for (const { circle, cross, layer, i } of units)
      for (const part of [circle, cross]) part.classList.toggle("gone", !kept[layer][i]);
    element("thinning-p-shown").textContent = rate().toFixed(2);
    element("thinning-updates").textContent = count(state.updates);
    element("thinning-seen").textContent = `${count(state.seen.size)} of ${count(2 ** droppable)}`;
    element("thinning-share").textContent = state.drawn
      ? `${count(state.dropped)} of ${count(state.drawn)} = ${(state.dropped / state.drawn).toFixed(3)}`
      : "none yet";
    element("thinning-bar").setAttribute("width", state.drawn ? (300 * state.dropped) / state.drawn : 0);
    for (const key of ["x1", "x2"]) element("thinning-mark").setAttribute(key, 1 + 298 * rate());
    drawRecent();
    const now = HIDDEN.flatMap((layer) => kept[layer]).filter((one) => !one).length;
    drawing.setAttribute("aria-label", `A network of 4 inputs, two hidden layers of 5 units and 3 outputs; ${now} of its ${droppable} hidden units are dropped.`);
  }

  /** Draw one column per recent update and one row per hidden unit. */
  function drawRecent() {
    const paths = { kept: "", dropped: "" };
    state.recent.forEach((code, column) => [...code].forEach((bit, row) => {
      paths[bit === "1" ? "kept" : "dropped"] += `M${column * 7.5} ${row * 7.5 + (row >= LAYERS[1] ? 5 : 0)}h6v6h-6z`;
    }));
    for (const [name, d] of Object.entries(paths)) element(`thinning-${name}`).setAttribute("d", d);
  }

  function update() {
    let code = "";
    for (const layer of HIDDEN)
      kept[layer] = kept[layer].map(() => {
        const keep = random.uniform() >= rate();
        code += keep ? "1" : "0";
        state.dropped += keep ? 0 : 1;
        return keep;
      });
    state.drawn += droppable;
    state.updates += 1;
    state.seen.add(code);
    state.recent.push(code);
    if (state.recent.length > REMEMBERED) state.recent.shift();
  }

  /** Reset the counts, because they belong to one rate. */
  function reset() {
    for (const layer of HIDDEN) kept[layer].fill(true);
    Object.assign(state, { updates: 0, dropped: 0, drawn: 0, recent: [] });
    state.seen.clear();
    draw();
  }

  slider.addEventListener("input", reset);
  element("thinning-next").addEventListener("click", () => { update(); draw(); });
  element("thinning-many").addEventListener("click", () => {
    for (let i = 0; i < 1000; i++) update();
    draw();
  });
  element("thinning-reset").addEventListener("click", reset);
  update();  // show something before the first click
  draw();
  window.explain.thinning = state;
})();

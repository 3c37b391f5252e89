"use strict";

/** Error curves of recorded runs, with a readout for one number of updates. */
(() => {
  const curves = JSON.parse(element("curves-data").textContent);
  const drawing = element("curves"), slider = element("curves-at"), body = element("curves-rows");
  const updates = curves[0].x, last = updates.length - 1;
  // Cut off the start, where all errors are high, so that the two groups at the end are apart.
  const highest = Math.ceil(2.6 * Math.max(...curves.map((curve) => curve.y[last]))) / 2;
  const { across, down, at, top, foot } = chart(drawing, updates[last], highest, true);
  const names = [...new Set(curves.map((curve) => curve.name))];
  const groups = { with: "dropout", without: "without dropout" };
  const drawn = [];

  for (const name of names) {
    const row = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    for (const [style, group] of Object.entries(groups)) {
      const curve = curves.find((one) => one.name === name && one.group === group);
      const points = curve.x.map((x, i) => [across(x), down(curve.y[i])]).filter((p) => p[1] >= top);
      const path = shape("path", { class: `curve ${style}`, d: through(points) });
      const cell = document.createElement("td");
      drawing.append(path);
      row.append(cell);
      drawn.push({ curve, path, cell, style });
    }
    body.append(row);
  }
  const marker = shape("line", { class: "marker", y1: top, y2: foot });
  drawing.append(marker);

  const percent = (error) => `${error.toFixed(2)} %`;
  const mean = (style, i) => {
    const errors = drawn.filter((one) => one.style === style).map((one) => one.curve.y[i]);
    return percent(errors.reduce((a, b) => a + b, 0) / errors.length);
  };

  function show() {
    const i = Number(slider.value), reached = updates[i].toLocaleString("en");
    for (const key of ["x1", "x2"]) marker.setAttribute(key, across(updates[i]));
    for (const { curve, cell } of drawn) cell.textContent = percent(curve.y[i]);
    element("curves-updates").textContent = reached;
    for (const style of Object.keys(groups)) element(`curves-${style}`).textContent = mean(style, i);
    slider.setAttribute("aria-valuetext",
      `${reached} updates: mean error ${mean("with", i)} with dropout, ${mean("without", i)} without`);
  }

  /** Select the updates under the pointer and highlight the nearest curve. */
  function point(event) {
    const box = drawing.getBoundingClientRect();
    const wanted = at((event.clientX - box.left) / box.width);
    const i = updates.reduce((best, x, k) => (Math.abs(x - wanted) < Math.abs(updates[best] - wanted) ? k : best), 0);
    const y = ((event.clientY - box.top) / box.height) * drawing.viewBox.baseVal.height;
    const away = ({ curve }) => Math.abs(down(curve.y[i]) - y);
    const nearest = drawn.reduce((best, one) => (away(one) < away(best) ? one : best));
    single(nearest);
    slider.value = i;
    show();
  }

  function single(nearest) {
    for (const one of drawn)
      for (const part of [one.path, one.cell]) part.classList.toggle("near", one === nearest);
    drawing.classList.toggle("singled", nearest !== null);
  }

  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerdown", point);
  drawing.addEventListener("pointerleave", () => single(null));
  slider.max = last;
  slider.value = last;
  slider.addEventListener("input", show);
  show();
})();

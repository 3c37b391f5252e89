"use strict";

/** Error curves of recorded runs, with a readout for one number of updates. */
(() => {
  const curves = JSON.parse(element("curves-data").textContent);
  const drawing = element("curves"), slider = element("curves-at");
  const WIDTH = 640, HEIGHT = 330, LEFT = 46, BOTTOM = 34, TOP = 12, RIGHT = 12;
  const last = curves[0].x.length - 1;
  const highest = Math.max(...curves.flatMap((c) => c.y.slice(Math.ceil(last / 6)))) * 1.05;
  const lowest = Math.min(...curves.flatMap((c) => c.y)) * 0.9;
  const end = curves[0].x[last];
  const across = (x) => LEFT + ((WIDTH - LEFT - RIGHT) * x) / end;
  const down = (y) =>
    TOP + (HEIGHT - TOP - BOTTOM) * (1 - (Math.min(y, highest) - lowest) / (highest - lowest));

  for (let i = 0; i <= 4; i++) {
    const y = lowest + (i * (highest - lowest)) / 4, x = (i * end) / 4;
    drawing.append(shape("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: down(y), y2: down(y) }));
    const percent = shape("text", { x: LEFT - 6, y: down(y) + 4, "text-anchor": "end" });
    percent.textContent = `${y.toFixed(1)} %`;
    const updates = shape("text", { x: across(x), y: HEIGHT - 12, "text-anchor": i === 4 ? "end" : "middle" });
    updates.textContent = i === 4 ? `${x.toLocaleString("en")} updates` : x.toLocaleString("en");
    drawing.append(percent, updates);
  }
  for (const curve of curves) {
    const d = curve.x.map((x, i) => `${i ? "L" : "M"}${across(x).toFixed(1)} ${down(curve.y[i]).toFixed(1)}`).join("");
    const path = shape("path", { class: `curve ${curve.group === "dropout" ? "with" : "without"}`, d });
    const title = shape("title", {});
    title.textContent = `${curve.name}, ${curve.group}: ${curve.y[last].toFixed(2)} % at the end`;
    path.append(title);
    drawing.append(path);
  }
  const marker = shape("line", { class: "marker", y1: TOP, y2: HEIGHT - BOTTOM });
  drawing.append(marker);

  const mean = (group, at) => {
    const values = curves.filter((c) => (c.group === "dropout") === group).map((c) => c.y[at]);
    return values.reduce((a, b) => a + b, 0) / values.length;
  };

  function show() {
    const at = Number(slider.value);
    for (const key of ["x1", "x2"]) marker.setAttribute(key, across(curves[0].x[at]));
    element("curves-updates").textContent = curves[0].x[at].toLocaleString("en");
    element("curves-with").textContent = `${mean(true, at).toFixed(2)} %`;
    element("curves-without").textContent = `${mean(false, at).toFixed(2)} %`;
  }

  slider.max = last;
  slider.value = last;
  slider.addEventListener("input", show);
  show();
})();

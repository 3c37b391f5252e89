"use strict";

/**
 * Draw axes of error (in %, from 0) against updates in an SVG. Return functions that map updates
 * and errors to coordinates, and a fraction of the width back to updates.
 * If there is room, a tall chart is 1.5 times as high.
 */
function chart(drawing, end, highest, tall) {
  const narrow = drawing.getBoundingClientRect().width < 480;
  const width = narrow ? 340 : 640, height = tall && !narrow ? 440 : 280;
  const left = 34, right = 10, top = 22, bottom = 34;
  const across = (updates) => left + ((width - left - right) * updates) / end;
  const down = (error) => top + (height - top - bottom) * (1 - error / highest);
  const at = (share) => ((share * width - left) / (width - left - right)) * end;
  const write = (text, attributes) => {
    const made = shape("text", attributes);
    made.textContent = text;
    drawing.append(made);
  };

  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.replaceChildren();
  const step = [0.5, 1, 2, 5, 10, 20].find((size) => highest / size <= 6);
  for (let error = 0; error <= highest; error += step) {
    drawing.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: down(error), y2: down(error) }));
    write(error, { x: left - 8, y: down(error) + 4, "text-anchor": "end" });
  }
  for (const share of [0, 0.5, 1])
    write((share * end).toLocaleString("en"), {
      x: across(share * end), y: height - bottom + 20, "text-anchor": share === 1 ? "end" : "middle",
    });
  write("error, %", { x: 0, y: 11 });
  write("updates", { x: across(end * 0.75), y: height - bottom + 20, "text-anchor": "middle" });
  return { across, down, at, top, foot: height - bottom };
}

/** Return the SVG path through points [x, y]. */
const through = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

"use strict";

/** The worked example of weight scaling: four units, all sixteen masks. */
(() => {
  const UNITS = 4, WEIGHT = 0.25;
  const slider = element("scaling-p");
  const state = {};

  function show() {
    const p = Number(slider.value), q = 1 - p;
    // Trained with dropped units left at 0, the weights settle where a sum of 1 is expected.
    const trained = q > 0 ? WEIGHT / q : 0;
    let expected = 0, chances = 0;
    const list = element("scaling-masks");
    list.replaceChildren();
    for (let mask = 0; mask < 2 ** UNITS; mask++) {
      const bits = Array.from({ length: UNITS }, (_, i) => (mask >> i) & 1);
      const count = bits.reduce((a, b) => a + b, 0);
      const chance = q ** count * p ** (UNITS - count);
      const sum = count * trained;
      expected += chance * sum;
      chances += chance;
      const item = document.createElement("li"), dots = document.createElement("span");
      dots.className = "dots";
      for (const bit of bits) {
        const dot = document.createElement(bit ? "span" : "b");
        dot.textContent = bit ? "●" : "○";
        dots.append(dot);
      }
      const small = document.createElement("small");
      small.textContent = `chance ${chance.toFixed(3)}`;
      item.append(dots, ` ${sum.toFixed(2)}`, small);
      list.append(item);
    }
    Object.assign(state, {
      p, trained, expected, chances,
      scaled: UNITS * trained * q, article: UNITS * trained * p, unscaled: UNITS * trained,
    });
    element("scaling-p-shown").textContent = p.toFixed(2);
    for (const key of ["trained", "expected", "scaled", "article", "unscaled"])
      element(`scaling-${key}`).textContent = state[key].toFixed(2);
    element("scaling-testweight").textContent = (trained * q).toFixed(2);
    element("scaling-article").classList.toggle("off", Math.abs(state.article - expected) > 1e-9);
    element("scaling-unscaled").classList.toggle("off", Math.abs(state.unscaled - expected) > 1e-9);
    element("scaling-said").textContent = q === 0
      ? "At p = 1 nothing is ever kept: there is nothing to learn, and the sum is 0."
      : p === 0 ? "At p = 0 nothing is dropped, and nothing needs scaling."
      : `Weights × ${q.toFixed(2)}, the probability of keeping, gives the sum that training expects.`;
  }

  slider.addEventListener("input", show);
  show();
  window.explain.scaling = state;
})();

"use strict";

/** The worked example of weight scaling: four units, all sixteen masks, both conventions. */
(() => {
  const UNITS = 4, WEIGHT = 0.25;
  const slider = element("scaling-p");
  const masks = Array.from({ length: 2 ** UNITS }, (_, code) =>
    Array.from({ length: UNITS }, (_, unit) => (code >> unit) & 1));
  const state = {};

  const kept = (mask) => mask.reduce((a, b) => a + b, 0);
  const written = (value) => (Number.isFinite(value) ? value.toFixed(2) : "–");

  const chance = (p, mask) => (1 - p) ** kept(mask) * p ** (UNITS - kept(mask));

  /** Return the expectation of a sum over all masks. */
  function expectation(p, sum) {
    const possible = masks.filter((mask) => chance(p, mask) > 0);
    return possible.reduce((mean, mask) => mean + chance(p, mask) * sum(mask), 0);
  }

  function compute(p) {
    const q = 1 - p;
    // Training gives weights with expected sum 1. At q = 0 the weights are not trained.
    const trained = q > 0 ? WEIGHT / q : NaN, factor = q > 0 ? 1 / q : NaN;
    const sum = (weight, times) => (mask) => (kept(mask) ? kept(mask) * weight * times : 0);
    return {
      p,
      chances: expectation(p, () => 1),
      trained, inverted: q > 0 ? WEIGHT : NaN, factor,
      expected: expectation(p, sum(trained, 1)), expectedInverted: expectation(p, sum(WEIGHT, factor)),
      testweight: q > 0 ? trained * q : 0, testweightInverted: q > 0 ? WEIGHT : NaN,
      scaled: q > 0 ? UNITS * trained * q : 0, scaledInverted: q > 0 ? UNITS * WEIGHT : NaN,
      unscaled: UNITS * trained, article: UNITS * trained * p,
    };
  }

  function list(p, trained) {
    element("scaling-masks").replaceChildren(...masks.map((mask) => {
      const item = document.createElement("li"), dots = document.createElement("span");
      const sum = document.createElement("b"), small = document.createElement("small");
      dots.className = "dots";
      dots.setAttribute("role", "img");
      dots.setAttribute("aria-label", `${kept(mask)} of ${UNITS} kept`);
      for (const bit of mask) {
        const dot = document.createElement("i");
        dot.className = bit ? "kept" : "dropped";
        dots.append(dot);
      }
      sum.textContent = kept(mask) ? written(kept(mask) * trained) : "0.00";
      small.textContent = `${(100 * chance(p, mask)).toFixed(1)} %`;
      item.append(dots, sum, small);
      return item;
    }));
  }

  function show() {
    const p = Number(slider.value), q = 1 - p;
    Object.assign(state, compute(p));
    list(p, state.trained);
    element("scaling-p-shown").textContent = p.toFixed(2);
    for (const key of ["trained", "inverted", "factor", "expected", "expectedInverted", "testweight",
      "testweightInverted", "scaled", "scaledInverted", "unscaled", "article"])
      element(`scaling-${key}`).textContent = written(state[key]);
    for (const key of ["unscaled", "article"])
      element(`scaling-${key}`).classList.toggle("off", Math.abs(state[key] - state.expected) > 1e-9);
    element("scaling-said").textContent = q === 0
      ? "At p = 1 no unit is ever kept: no weight is trained, and no factor restores the sum."
      : p === 0 ? "At p = 0 no unit is dropped, and nothing needs scaling."
      : `The keep probability is ${q.toFixed(2)}. The expected sum in training is ${written(state.expected)}, and the sum at test time is ${written(state.scaled)}. Multiplying by p instead would give ${written(state.article)}.`;
  }

  slider.addEventListener("input", show);
  show();
  window.explain.scaling = state;
})();
